import math
import sys
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dropout_core.config import (
    AdamConfig,
    AdamWConfig,
    CosineConfig,
    Coslog4Config,
    FlatCosineConfig,
    LinearConfig,
    OneCycleConfig,
    Optimizer,
    Scheduler,
    SGDConfig,
    StepConfig,
)
from dropout_core.training.optimizers import (
    build_optimizer,
    build_scheduler,
    coslog4,
    flat_cosine,
)

WEIGHTS = torch.tensor([0.5, -2.0, 3.0], dtype=torch.float64)
SLOPES = [torch.tensor(s, dtype=torch.float64) for s in ([1.0, -0.1, 0.0], [0.5, 0.2, -4.0])]


def sgd(config: SGDConfig) -> Tensor:
    weights, velocity = WEIGHTS.clone(), torch.zeros(3, dtype=torch.float64)
    for slope in SLOPES:
        slope = slope + config.weight_decay * weights
        velocity = config.momentum * velocity + slope
        weights -= config.lr * (slope + config.momentum * velocity if config.nesterov else velocity)
    return weights


def adam(config: AdamConfig | AdamWConfig) -> Tensor:
    weights, mean, square = WEIGHTS.clone(), torch.zeros(3), torch.zeros(3)
    first, second = config.betas
    for step, slope in enumerate(SLOPES, start=1):
        if isinstance(config, AdamWConfig):
            weights *= 1 - config.lr * config.weight_decay
        else:
            slope = slope + config.weight_decay * weights
        mean = first * mean + (1 - first) * slope
        square = second * square + (1 - second) * slope**2
        deviation = (square / (1 - second**step)).sqrt()
        weights -= config.lr * mean / (1 - first**step) / (deviation + config.eps)
    return weights


@pytest.mark.parametrize(
    "config",
    [
        SGDConfig(),
        SGDConfig(lr=0.5, weight_decay=0.1),
        SGDConfig(momentum=0.9),
        SGDConfig(momentum=0.9, nesterov=True, weight_decay=0.01),
        AdamConfig(),
        AdamConfig(lr=0.1, betas=(0.5, 0.8), eps=0.1, weight_decay=0.1),
        AdamWConfig(),
        AdamWConfig(lr=0.1, betas=(0.5, 0.8), eps=0.1, weight_decay=0.5),
    ],
    ids=repr,
)
def test_two_steps_are_those_computed_by_hand(config: Optimizer) -> None:
    by_hand = sgd if isinstance(config, SGDConfig) else adam
    weights = nn.Parameter(WEIGHTS.clone())
    optimizer = build_optimizer([weights], config)
    for slope in SLOPES:
        weights.grad = slope.clone()
        optimizer.step()
    torch.testing.assert_close(weights.detach(), by_hand(config), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("config", [SGDConfig(), AdamConfig(), AdamWConfig()], ids=repr)
def test_none_loads_the_compiler(config: Optimizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take a second of every worker's start, and of the first training of a process."""
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)  # to import it is an error
    weights = nn.Parameter(WEIGHTS.clone())
    optimizer = build_optimizer([weights], config)
    weights.grad = SLOPES[0].clone()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.zero_grad()


def learning_rates(
    config: Scheduler | None, *, num_epochs: int = 5, num_batches: int = 4, lr: float = 0.8
) -> list[float]:
    """The learning rate of every step of a run."""
    weights = nn.Parameter(torch.zeros(1))
    weights.grad = torch.zeros(1)
    optimizer = build_optimizer([weights], SGDConfig(lr=lr))
    scheduler = build_scheduler(optimizer, config, num_epochs=num_epochs, num_batches=num_batches)
    rates = []
    for _ in range(num_epochs * num_batches):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return rates


def half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def test_without_a_schedule_the_rate_is_constant() -> None:
    assert learning_rates(None) == [0.8] * 20


def test_step_multiplies_by_gamma_every_so_many_epochs() -> None:
    rates = learning_rates(StepConfig(name="step", step_size=2, gamma=0.5))
    assert rates == pytest.approx([0.8] * 8 + [0.4] * 8 + [0.2] * 4)


@pytest.mark.parametrize("min_lr", [0.0, 0.1])
def test_cosine_anneals_along_half_a_cosine(min_lr: float) -> None:
    rates = learning_rates(CosineConfig(name="cosine", min_lr=min_lr))
    assert rates == pytest.approx([half_cosine(0.8, min_lr, step / 20) for step in range(20)])


@pytest.mark.parametrize(("start", "end"), [(1.0, 0.0), (0.25, 1.0)])
def test_linear_goes_along_a_line(start: float, end: float) -> None:
    rates = learning_rates(LinearConfig(name="linear", start_factor=start, end_factor=end))
    line = [0.8 * (start + (end - start) * step / 20) for step in range(20)]
    assert rates == pytest.approx(line)


def test_one_cycle_rises_for_its_warmup_and_then_anneals_to_almost_zero() -> None:
    rates = learning_rates(OneCycleConfig(name="one_cycle", max_lr=2.0, warmup=0.25))
    top = 0.25 * 20 - 1
    rise = [half_cosine(2.0 / 25, 2.0, step / top) for step in range(5)]
    fall = [half_cosine(2.0, 2.0 / 25e4, (step - top) / (19 - top)) for step in range(5, 20)]
    assert rates == pytest.approx(rise + fall)


def test_coslog4_has_four_waves_each_twice_as_long_as_the_one_before() -> None:
    ends = [0, 1 / 15, 3 / 15, 7 / 15, 1]
    assert [coslog4(share) for share in ends] == pytest.approx([0.0] * 5, abs=1e-12)
    # Half a wave is where 1 + 15 t is 2 ** 0.5 times what it was at the start of the wave.
    tops = [(2 ** (wave + 0.5) - 1) / 15 for wave in range(4)]
    assert [coslog4(share) for share in tops] == pytest.approx([1.0] * 4)


def test_flat_cosine_is_flat_and_then_half_a_cosine() -> None:
    assert [flat_cosine(share, flat=0.4) for share in (0.0, 0.2, 0.4)] == [1.0] * 3
    assert [flat_cosine(share, flat=0.4) for share in (0.6, 0.7, 1.0)] == pytest.approx(
        [half_cosine(1.0, 0.0, 1 / 3), 0.5, 0.0]
    )
    assert flat_cosine(0.5, flat=0.0) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("config", "factor"),
    [
        (Coslog4Config(name="coslog4"), coslog4),
        (FlatCosineConfig(flat=0.25), partial(flat_cosine, flat=0.25)),
    ],
    ids=["coslog4", "flat cosine"],
)
def test_a_step_has_the_rate_of_its_middle(config: Scheduler, factor: Any) -> None:
    rates = learning_rates(config)
    assert rates == pytest.approx([0.8 * factor((step + 0.5) / 20) for step in range(20)])
    assert min(rates) > 0


@pytest.mark.parametrize(("warmup", "num_steps"), [(0.1, 10), (0.25, 4), (0.5, 2)])
def test_one_cycle_may_warm_up_for_a_single_step(warmup: float, num_steps: int) -> None:
    config = OneCycleConfig(name="one_cycle", max_lr=2.0, warmup=warmup)
    rates = learning_rates(config, num_epochs=1, num_batches=num_steps)
    fall = [half_cosine(2.0, 2.0 / 25e4, step / (num_steps - 1)) for step in range(1, num_steps)]
    assert rates == pytest.approx([2.0 / 25, *fall], rel=1e-6)


@pytest.mark.parametrize(
    "config",
    [
        StepConfig(name="step", step_size=1),
        CosineConfig(name="cosine"),
        LinearConfig(name="linear"),
        OneCycleConfig(name="one_cycle", max_lr=1.0),
        Coslog4Config(name="coslog4"),
        FlatCosineConfig(),
    ],
    ids=repr,
)
def test_a_schedule_may_be_a_single_step_long(config: Scheduler) -> None:
    (rate,) = learning_rates(config, num_epochs=1, num_batches=1)
    assert 0 < rate <= 1


def test_one_cycle_leaves_the_momentum_to_the_optimizer() -> None:
    optimizer = build_optimizer([nn.Parameter(torch.zeros(1))], AdamConfig(betas=(0.7, 0.99)))
    config = OneCycleConfig(name="one_cycle", max_lr=1.0)
    build_scheduler(optimizer, config, num_epochs=1, num_batches=10)
    assert optimizer.param_groups[0]["betas"] == (0.7, 0.99)


@pytest.mark.parametrize("config", [SGDConfig(lr=0.5), AdamConfig(), AdamWConfig()], ids=repr)
def test_a_group_of_parameters_may_have_options_of_its_own(config: Optimizer) -> None:
    plain, other = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    groups = [{"params": [plain]}, {"params": [other], "lr": 0.25, "weight_decay": 0.125}]
    optimizer = build_optimizer(groups, config)
    first, second = optimizer.param_groups
    assert (first["lr"], first["weight_decay"]) == (config.lr, config.weight_decay)
    assert (second["lr"], second["weight_decay"]) == (0.25, 0.125)
    options = first.keys() - {"params", "lr", "weight_decay"}
    assert all(second[name] == first[name] for name in options)


@pytest.mark.parametrize(
    "config",
    [
        StepConfig(name="step", step_size=2, gamma=0.5),
        CosineConfig(name="cosine"),
        LinearConfig(name="linear", start_factor=0.5),
        OneCycleConfig(name="one_cycle", max_lr=2.0),
        Coslog4Config(name="coslog4"),
        FlatCosineConfig(),
    ],
    ids=repr,
)
def test_a_schedule_keeps_the_rates_of_groups_in_proportion(config: Scheduler) -> None:
    weights = [nn.Parameter(torch.zeros(1)) for _ in range(3)]
    factors = [1.0, 0.49, 4.0]
    groups = [
        {"params": [weight], "lr": 0.8 * factor}
        for weight, factor in zip(weights, factors, strict=True)
    ]
    optimizer = build_optimizer(groups, SGDConfig(lr=0.8))
    scheduler = build_scheduler(optimizer, config, num_epochs=5, num_batches=4)
    for rate in learning_rates(config):
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == pytest.approx([rate * factor for factor in factors], rel=1e-12)
        optimizer.step()
        scheduler.step()
