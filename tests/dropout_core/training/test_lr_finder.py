import itertools
import math
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from dropout_core.config import AdamConfig, CosineConfig, MLPConfig, SGDConfig, TrainingConfig
from dropout_core.nn.mlp import MLP
from dropout_core.training.loop import train
from dropout_core.training.losses import plain_loss, training_loss
from dropout_core.training.lr_finder import LearningRateCurve, find_learning_rate
from dropout_core.training.training_data import TrainingData
from tests.support.training_runs import blob_data, blobs, same_bits

BLOWN_UP = 4  # times the lowest loss


def network(**config: Any) -> MLP:
    return MLP(MLPConfig(**{"hidden": (8,), **config}), in_features=4, out_features=3)


def search(
    model: MLP | None = None, data: TrainingData | None = None, **options: Any
) -> LearningRateCurve:
    names = ("lowest", "highest", "num_steps") & options.keys()
    bounds = {name: options.pop(name) for name in names}
    config = TrainingConfig(**{"optimizer": SGDConfig(), "batch_size": 16, **options})
    return find_learning_rate(
        model or network(), data or blob_data(), config, task="multiclass", **bounds
    )


def line(num_rows: int = 32) -> tuple[MLP, TrainingData, float]:
    """A linear regression without dropout, and the rate above which gradient descent climbs.

    That is 2 over the largest curvature of the mean squared error: of 2 XᵀX / N, X with a column of
    ones for the bias.
    """
    features = torch.randn(num_rows, 4, generator=Generator().manual_seed(5))
    targets = features @ torch.tensor([[1.0], [-2.0], [0.5], [3.0]]) + 1.0
    with_ones = torch.cat([features, torch.ones(num_rows, 1)], dim=1).double()
    curvature = torch.linalg.eigvalsh(2 * with_ones.T @ with_ones / num_rows)[-1].item()
    model = MLP(MLPConfig(hidden=()), in_features=4, out_features=1)
    return model, TrainingData(features, targets), 2 / curvature


def spoilt_blobs() -> tuple[Tensor, Tensor]:
    features, targets = blobs()
    return features * math.inf, targets


def search_line(**bounds: Any) -> LearningRateCurve:
    model, data, _ = line()
    config = TrainingConfig(optimizer=SGDConfig(), batch_size=len(data.train_features))
    return find_learning_rate(model, data, config, task="regression", **bounds)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"activation": "gelu"},
        {"batch_norm": True},
        {"max_norm": 0.1},
        {"hidden_dropout": {"kind": "dropconnect", "p": 0.5}},
    ],
    ids=str,
)
@pytest.mark.parametrize("training", [True, False])
def test_the_model_its_generator_and_the_global_one_are_left_as_they_were(
    config: dict[str, Any], training: bool
) -> None:
    model, same = network(**config), network(**config)
    stream = Generator().manual_seed(7)
    model.use_generator(stream)
    model.train(training)
    before = torch.get_rng_state()
    search(model, precision="bfloat16")
    assert same_bits(model, same)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(module.training == training for module in model.modules())
    assert torch.equal(stream.get_state(), Generator().manual_seed(7).get_state())
    assert torch.equal(torch.get_rng_state(), before)
    x = blob_data().train_features
    for each in (model, same):  # neither rounds nor draws as the trial did
        each.train()
        each.use_generator(Generator().manual_seed(8))
    assert torch.equal(model(x), same(x))


def test_a_curve_is_a_function_of_the_seed() -> None:
    curves = []
    for global_seed, seed in ((1, 1), (2, 1), (3, 2)):
        torch.manual_seed(global_seed)
        model = network()
        model.use_generator(Generator().manual_seed(global_seed))
        curves.append(search(model, seed=seed))
    assert curves[0] == curves[1]
    assert curves[0].losses != curves[2].losses


def test_rates_rise_geometrically_from_the_lowest_to_the_highest() -> None:
    rates = search_line(lowest=1e-6, highest=1e-2, num_steps=50).rates
    assert rates == pytest.approx([1e-6 * 1e4 ** (step / 49) for step in range(50)], rel=1e-12)


def test_rates_and_losses_go_together() -> None:
    curve = search()
    assert len(curve.rates) == len(curve.losses)
    assert curve.suggestion in curve.rates
    assert all(math.isfinite(loss) for loss in curve.losses)


def test_losses_begin_with_that_of_the_model_as_it_is() -> None:
    model, data, _ = line()
    with torch.no_grad():
        loss = plain_loss("regression")(model.train()(data.train_features), data.train_targets)
    assert search_line().losses[0] == pytest.approx(loss.item(), rel=1e-5)


def test_a_loss_is_the_mean_of_what_was_seen_with_the_last_weighing_the_most() -> None:
    # With rates of almost nothing the model stands still, and every full batch has the same loss.
    losses = search_line(lowest=1e-30, highest=1e-29).losses
    assert losses == pytest.approx([losses[0]] * 100, rel=1e-5)


@pytest.mark.parametrize("optimizer", [SGDConfig(), SGDConfig(momentum=0.9)], ids=repr)
def test_it_stops_once_the_loss_has_blown_up(optimizer: SGDConfig) -> None:
    model, data, _ = line()
    config = TrainingConfig(optimizer=optimizer, batch_size=32)
    curve = find_learning_rate(model, data, config, task="regression", highest=1e6)
    assert 10 < len(curve.rates) < 100
    lowest = itertools.accumulate(curve.losses, min)
    assert all(loss <= BLOWN_UP * least for loss, least in zip(curve.losses, lowest, strict=True))


def test_a_loss_that_overflows_stops_it_too() -> None:
    model, data, _ = line()
    data = TrainingData(data.train_features * 1e15, data.train_targets)
    config = TrainingConfig(optimizer=SGDConfig(), batch_size=32)
    curve = find_learning_rate(model, data, config, task="regression")
    assert len(curve.rates) < 100
    assert all(math.isfinite(loss) for loss in curve.losses)


def test_the_suggestion_lies_where_the_loss_falls_and_below_where_it_rises() -> None:
    *_, climbing = line()
    curve = search_line(lowest=climbing / 1e5, highest=climbing * 100)
    assert curve.suggestion < climbing
    place = curve.rates.index(curve.suggestion)
    assert place < curve.losses.index(min(curve.losses))
    assert curve.losses[place - 1] > curve.losses[place] > curve.losses[place + 1]


def test_training_at_the_suggestion_lowers_the_loss() -> None:
    model, data, _ = line()
    rate = search_line().suggestion
    config = TrainingConfig(epochs=20, batch_size=32, optimizer=SGDConfig(lr=rate))
    losses = [metrics.train_loss for metrics in train(model, data, config, task="regression")]
    assert all(after < before for before, after in itertools.pairwise(losses))
    assert losses[-1] < losses[0] / 2


def test_the_optimizer_is_the_configs_and_its_own_rate_and_schedule_are_left_out() -> None:
    plain = search(optimizer=AdamConfig())
    scheduled = search(optimizer=AdamConfig(lr=0.5), scheduler=CosineConfig(name="cosine"))
    assert scheduled == plain
    assert search(optimizer=SGDConfig()).losses != plain.losses
    assert search(optimizer=AdamConfig(betas=(0.5, 0.9))).losses != plain.losses


def test_the_loss_is_the_configs() -> None:
    options = {"class_weights": (0.2, 1.0, 3.0), "label_smoothing": 0.2}
    model, data = network(hidden_dropout=0.0), blob_data()
    loss = training_loss(
        TrainingConfig(**options), "multiclass", targets=data.train_targets, num_outputs=3
    )
    with torch.no_grad():
        value = loss(model(data.train_features), data.train_targets)
    first = search(model, batch_size=60, **options).losses[0]
    assert first == pytest.approx(value.item(), rel=1e-5)
    with pytest.raises(ValueError, match="2 weights for 3 classes"):
        search(class_weights=(1.0, 2.0))


def test_precision_and_max_norm_are_those_of_the_run_to_come() -> None:
    plain = search().losses
    assert search(precision="bfloat16").losses != plain
    assert search(network(max_norm=0.1)).losses != plain


@pytest.mark.parametrize("num_rows", [2, 15, 17, 60])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_data_may_be_smaller_than_a_batch_or_no_multiple_of_it(
    batch_norm: bool, num_rows: int
) -> None:
    model = network(batch_norm=batch_norm, hidden_dropout=0.0)
    curve = search(model, blob_data(num_rows=num_rows), highest=1e-2, num_steps=40)
    assert len(curve.rates) == 40


def seen_rows(num_rows: int, batch_size: int, num_steps: int) -> list[list[int]]:
    """The rows of every batch, as a network sees them whose steps autograd computes."""
    batches: list[list[int]] = []
    model = MLP(
        MLPConfig(hidden=(), input_dropout={"kind": "gaussian", "p": 0.0}),
        in_features=1,
        out_features=1,
    )

    def watch(_: object, inputs: tuple[Tensor]) -> None:
        batches.append(inputs[0][:, 0].tolist())

    model.input_dropout.register_forward_pre_hook(watch)
    features = torch.arange(float(num_rows))[:, None]
    config = TrainingConfig(optimizer=SGDConfig(), batch_size=batch_size)
    data = TrainingData(features, features)
    bounds = {"lowest": 1e-30, "highest": 1e-29, "num_steps": num_steps}
    find_learning_rate(model, data, config, task="regression", **bounds)
    return batches


def test_rows_are_shuffled_anew_whenever_they_are_used_up() -> None:
    batches = seen_rows(num_rows=12, batch_size=4, num_steps=10)
    assert [len(batch) for batch in batches] == [4] * 10
    epochs = [list(itertools.chain(*batches[at : at + 3])) for at in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert all(epoch != sorted(epoch) for epoch in epochs)


@pytest.mark.parametrize(
    ("lowest", "highest"),
    [(0.0, 1.0), (-1.0, 1.0), (1.0, 1.0), (2.0, 1.0), (math.nan, 1.0), (1.0, math.inf)],
)
def test_rates_that_do_not_rise_from_above_0_are_refused(lowest: float, highest: float) -> None:
    with pytest.raises(ValueError, match="have to rise from above 0"):
        search(lowest=lowest, highest=highest)


@pytest.mark.parametrize("num_steps", [-1, 0, 9])
def test_too_few_steps_to_see_a_slope_are_refused(num_steps: int) -> None:
    with pytest.raises(ValueError, match="at least 10"):
        search(num_steps=num_steps)
    assert len(search_line(highest=1e-3, num_steps=10).rates) == 10


@pytest.mark.parametrize(
    ("data", "reason"),
    [(blob_data(num_rows=0), "0 rows"), (TrainingData(*spoilt_blobs()), "before the first step")],
)
def test_data_without_a_loss_is_refused(data: TrainingData, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        search(data=data)


@pytest.mark.parametrize("optimizer", [SGDConfig(), SGDConfig(momentum=0.9), AdamConfig()])
@pytest.mark.parametrize("hidden", [(), (8,)])
def test_noise_does_not_lead_the_suggestion_astray(
    hidden: tuple[int, ...], optimizer: SGDConfig | AdamConfig
) -> None:
    data = blob_data(num_rows=300)
    curve = search(network(hidden=hidden), data, optimizer=optimizer, batch_size=128)
    lowest = curve.rates[curve.losses.index(min(curve.losses))]
    assert 1e-3 < curve.suggestion < lowest
    config = TrainingConfig(
        epochs=10,
        batch_size=128,
        optimizer=optimizer.model_copy(update={"lr": curve.suggestion}),
    )
    history = list(train(network(hidden=hidden), data, config, task="multiclass"))
    assert history[-1].train_loss < history[0].train_loss * 0.75


def test_gradients_are_clipped_as_in_the_run_to_come() -> None:
    free, clipped = search(highest=1.0), search(highest=1.0, max_grad_norm=1e-3)
    assert min(free.losses) < free.losses[0] / 1.5
    assert min(clipped.losses) > clipped.losses[0] / 1.5


def test_layers_keep_the_proportions_of_their_rates() -> None:
    # At a fan-in of one, the rates of all weights are those of the search.
    features, targets = torch.ones(32, 1), torch.zeros(32, dtype=torch.int64)
    losses = []
    for layer_rates in ("all", "ntk"):
        model = MLP(MLPConfig(hidden=()), in_features=1, out_features=3)
        config = TrainingConfig(optimizer=SGDConfig(), batch_size=32, layer_rates=layer_rates)
        data = TrainingData(features, targets)
        curve = find_learning_rate(model, data, config, task="multiclass", lowest=0.1, highest=1)
        losses.append(curve.losses)
    # Biases have a tenth of them, so the loss falls more slowly.
    assert all(slow > fast for fast, slow in zip(*(x[1:] for x in losses), strict=True))
