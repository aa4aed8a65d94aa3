from collections.abc import Iterator
from typing import Any

import pytest
import torch

from dropout_core.config import (
    AdamConfig,
    AdamWConfig,
    CosineConfig,
    EarlyStoppingConfig,
    LinearConfig,
    MLPConfig,
    OneCycleConfig,
    Optimizer,
    Scheduler,
    SGDConfig,
    StepConfig,
    TrainingConfig,
)
from dropout_core.nn.masks import keep_probability
from dropout_core.nn.mlp import MLP
from dropout_core.training.loop import Training
from dropout_core.training.scaling_recipe import Recipe, Scaling, convert
from tests.support.training_runs import blob_data, run_batches, same_bits

SIZES = {"in_features": 4, "out_features": 3}
RATES = (0.2, 0.5, 0.3)  # of the inputs and two hidden layers: 0.5 alone is exact in binary
OPTIMIZERS = [
    SGDConfig(lr=0.2),
    SGDConfig(lr=0.05, momentum=0.9),
    SGDConfig(lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.05),
    AdamConfig(lr=0.02, eps=1e-2),
    AdamConfig(lr=0.02, eps=1e-2, weight_decay=0.1),
    AdamWConfig(lr=0.02, eps=1e-2, weight_decay=0.5),
]
SCHEDULERS = [
    StepConfig(name="step", step_size=1, gamma=0.5),
    LinearConfig(name="linear"),
    CosineConfig(name="cosine"),
    OneCycleConfig(name="one_cycle", max_lr=0.05),
]
NETWORKS = [
    {"activation": "tanh"},
    {"activation": "logistic"},
    {"activation": "gelu"},
    {"activation": "maxout"},
    {"batch_norm": True},
    {"batch_norm": True, "activation": "tanh"},
    {"hidden": (), "hidden_dropout": ()},
]

# A step is off by less than 50 roundings of sums below 100, to which momentum, curvature or Adam's
# division by eps add less than ten times as much again over the twelve steps of a run.
ROUNDING = 12 * 50 * 100 * 10 * 2.0**-53


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """Weights, features and rounding of double precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def dropout(p: float, scaling: str) -> dict[str, Any]:
    return {"p": p, "scaling": scaling}


def network_config(scaling: str = "classic", **changes: Any) -> MLPConfig:
    of_inputs, *of_hidden = (dropout(p, scaling) for p in RATES)
    config = {"hidden": (8, 6), "input_dropout": of_inputs, "hidden_dropout": of_hidden}
    return MLPConfig(**{**config, **changes})


def training_config(optimizer: Optimizer | None = None, **options: Any) -> TrainingConfig:
    options = {"epochs": 3, "batch_size": 16, "seed": 3, **options}
    return TrainingConfig(optimizer=optimizer or OPTIMIZERS[1], **options)


def plain_run(config: MLPConfig, training: TrainingConfig) -> Training:
    network = MLP(config, **SIZES, seed=training.seed)
    return Training(network, blob_data(), training, task="multiclass")


def converted_run(recipe: Recipe) -> Training:
    network = recipe.network(**SIZES)
    groups = recipe.parameter_groups(network)
    return Training(
        network, blob_data(), recipe.training, task="multiclass", parameter_groups=groups
    )


def assert_the_same_network(plain: MLP, converted: MLP, recipe: Recipe, *, off: float) -> None:
    """Weights but for their factors, everything else, and what the networks answer."""
    weights = {f"hidden.{index}.linear.weight" for index in range(len(plain.hidden))}
    weights |= {"output.weight"}
    factors = dict(zip(sorted(weights), recipe.weight_factors, strict=True))
    state = converted.state_dict()
    for name, tensor in plain.state_dict().items():
        wanted = tensor * factors[name] if name in factors else tensor
        torch.testing.assert_close(state[name], wanted, rtol=0, atol=off)
    features = blob_data().validation_features
    with torch.no_grad():
        answers, wanted = converted.eval()(features), plain.eval()(features)
    torch.testing.assert_close(answers, wanted, rtol=0, atol=100 * off)


def assert_converts(
    config: MLPConfig, training: TrainingConfig, to: Scaling, *, off: float = ROUNDING
) -> None:
    recipe = convert(config, training, to=to)
    plain, converted = plain_run(config, training), converted_run(recipe)
    untrained = MLP(config, **SIZES, seed=training.seed)
    losses = [[metrics.train_loss for metrics in run] for run in (plain, converted)]
    assert losses[0] == pytest.approx(losses[1], rel=0, abs=100 * off)
    assert_the_same_network(plain.model, converted.model, recipe, off=off)
    moved = [
        (layer.weight - before.weight).abs().max()
        for layer, before in zip(plain.model.linears, untrained.linears, strict=True)
    ]
    assert min(moved) > 1e-3  # so there was something to agree about


@pytest.mark.parametrize("scheduler", [None, *SCHEDULERS], ids=repr)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_classic_recipe_is_followed_by_an_inverted_network(
    optimizer: Optimizer, scheduler: Scheduler | None
) -> None:
    training = training_config(optimizer, scheduler=scheduler)
    assert_converts(network_config("classic"), training, "inverted")


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_an_inverted_recipe_is_followed_by_a_classic_network(optimizer: Optimizer) -> None:
    assert_converts(network_config("inverted"), training_config(optimizer), "classic")


@pytest.mark.parametrize("network", NETWORKS, ids=str)
@pytest.mark.parametrize("optimizer", [OPTIMIZERS[2], OPTIMIZERS[4]], ids=repr)
def test_so_it_is_by_every_kind_of_network(optimizer: Optimizer, network: dict[str, Any]) -> None:
    assert_converts(network_config(**network), training_config(optimizer), "inverted")


@pytest.mark.parametrize(
    "options",
    [
        {"ema_decay": 0.8},
        {"early_stopping": EarlyStoppingConfig(patience=1)},
        {"class_weights": "balanced", "label_smoothing": 0.1},
        {"layer_rates": "ntk", "weight_decay_schedule": {"flat": 0.2}},
    ],
    ids=str,
)
def test_so_it_is_with_options_that_know_no_convention(options: dict[str, Any]) -> None:
    assert_converts(network_config(), training_config(**options), "inverted")


def test_the_default_eps_of_adam_converts_too() -> None:
    # Here a gradient may be small beside its own rounding errors: a step of rate lr then moves by
    # lr / eps times these, 10^-3 / 10^-8, of which the twelve steps make twelve.
    training = training_config(AdamConfig())
    off = 12 * 1e5 * 50 * 100 * 2.0**-53
    assert_converts(network_config(), training, "inverted", off=off)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("to", ["inverted", "classic"])
def test_a_max_norm_is_that_of_the_scaled_weights(optimizer: Optimizer, to: Scaling) -> None:
    # torch divides by a norm with 1e-7 added, which is not scaled with it: each of the twelve steps
    # is off by up to 1e-7 times a factor of at most 2, and grows less than tenfold.
    scaling = {"inverted": "classic", "classic": "inverted"}[to]
    config = network_config(scaling, max_norm=0.5)
    assert_converts(config, training_config(optimizer), to, off=12 * 2e-7 * 10)
    recipe = convert(config, training_config(optimizer), to=to)
    bound = converted_run(recipe)
    list(bound)
    for layer, factor in zip(bound.model.linears, recipe.weight_factors, strict=True):
        assert (layer.weight.norm(dim=1) <= 0.5 * factor * (1 + 1e-12)).all()
    untrained = recipe.network(**SIZES)
    for layer, factor in zip(untrained.linears, recipe.weight_factors, strict=True):
        assert (layer.weight.norm(dim=1) > 0.5 * factor).any()


def test_only_what_is_scaled_the_other_way_is_converted() -> None:
    rates = [dropout(0.2, "inverted"), {"kind": "gaussian", "p": 0.3}, dropout(0.3, "classic")]
    config = network_config(hidden=(8, 6, 5), hidden_dropout=rates)
    training = training_config()
    assert_converts(config, training, "inverted")
    assert_converts(config, training, "classic")
    inverted = convert(config, training, to="inverted")
    classic = convert(config, training, to="classic")
    kept_input, kept, last = (keep_probability(p) for p in (RATES[0], 0.2, 0.3))
    assert inverted.weight_factors == (kept_input, 1.0, 1.0, last)
    assert classic.weight_factors == (1.0, 1.0 / kept, 1.0, 1.0)
    assert inverted.model.hidden_dropout[1] == config.hidden_dropout[1]
    scalings = [d.scaling for d in (inverted.model.input_dropout, *inverted.model.hidden_dropout)]
    assert scalings == ["inverted"] * 4


@pytest.mark.parametrize("p", [0.001, 0.25, 0.3, 0.5, 0.999])
def test_a_factor_is_the_probability_that_masks_realise(p: float) -> None:
    config = MLPConfig(hidden=(8,), hidden_dropout=dropout(p, "classic"))
    keep = keep_probability(p)
    assert convert(config, training_config(), to="inverted").weight_factors == (1.0, keep)
    config = MLPConfig(hidden=(8,), hidden_dropout=dropout(p, "inverted"))
    assert convert(config, training_config(), to="classic").weight_factors == (1.0, 1 / keep)


def test_initial_weights_and_max_norms_are_multiplied_by_their_factors() -> None:
    config = network_config(max_norm=2.0)
    recipe = convert(config, training_config(), to="inverted")
    plain, network = MLP(config, **SIZES, seed=3), recipe.network(**SIZES)
    assert recipe.weight_factors == tuple(keep_probability(p) for p in RATES)
    for one, other, factor in zip(
        plain.linears, network.linears, recipe.weight_factors, strict=True
    ):
        assert torch.equal(other.weight, one.weight * factor)
        assert torch.equal(other.bias, one.bias)
    assert network.max_norms == [2.0 * factor for factor in recipe.weight_factors]
    assert plain.max_norms == [2.0] * 3
    unbounded = convert(network_config(), training_config(), to="inverted")
    assert unbounded.network(**SIZES).max_norms is None


def test_the_conversion_back_is_the_identity() -> None:
    config, training = network_config("classic", max_norm=1.0), training_config()
    there = convert(config, training, to="inverted")
    back = convert(there.model, there.training, to="classic")
    assert there.model == network_config("inverted", max_norm=1.0)
    assert (back.model, back.training) == (config, training)
    for one, other in zip(there.weight_factors, back.weight_factors, strict=True):
        assert one * other == pytest.approx(1.0, rel=2.0**-52, abs=0)


def test_every_parameter_is_in_one_group() -> None:
    for config in (network_config(), network_config(batch_norm=True)):
        recipe = convert(config, training_config(), to="inverted")
        network = recipe.network(**SIZES)
        grouped = [p for group in recipe.parameter_groups(network) for p in group["params"]]
        assert len(grouped) == len(list(network.parameters()))
        assert {id(p) for p in grouped} == {id(p) for p in network.parameters()}


@pytest.mark.parametrize("scheduler", [None, *SCHEDULERS], ids=repr)
@pytest.mark.parametrize("optimizer", OPTIMIZERS[1:], ids=repr)
def test_a_recipe_with_nothing_to_convert_trains_to_the_same_bits(
    optimizer: Optimizer, scheduler: Scheduler | None
) -> None:
    config = network_config("inverted", max_norm=0.5)
    training = training_config(optimizer, scheduler=scheduler)
    recipe = convert(config, training, to="inverted")
    assert recipe == Recipe(config, training, (1.0, 1.0, 1.0))
    plain, converted = plain_run(config, training), converted_run(recipe)
    assert [m.train_loss for m in plain] == [m.train_loss for m in converted]
    assert same_bits(plain.model, converted.model)


@pytest.mark.parametrize("scheduler", [None, *SCHEDULERS], ids=repr)
def test_and_so_it_does_to_rounding_where_plain_descent_is_fused_without_its_groups(
    scheduler: Scheduler | None,
) -> None:
    training = training_config(SGDConfig(lr=0.2), scheduler=scheduler)
    assert_converts(network_config("inverted"), training, "inverted")


@pytest.mark.parametrize("optimizer", [OPTIMIZERS[1], OPTIMIZERS[4]], ids=repr)
@pytest.mark.parametrize("done", [0, 3, 4, 9])
def test_an_interrupted_run_goes_on_with_the_same_bits(optimizer: Optimizer, done: int) -> None:
    training = training_config(optimizer, scheduler=SCHEDULERS[3])
    recipe = convert(network_config(max_norm=1.0), training, to="inverted")
    whole, first, second = (converted_run(recipe) for _ in range(3))
    list(whole)
    run_batches(first, done)
    second.restore(first.state())
    list(second)
    assert same_bits(second.model, whole.model)


@pytest.mark.parametrize("scaling", ["inverted", "classic"])
@pytest.mark.parametrize("place", ["input_dropout", "hidden_dropout"])
def test_a_dropout_that_keeps_nothing_has_no_other_convention(place: str, scaling: str) -> None:
    to = {"inverted": "classic", "classic": "inverted"}[scaling]
    rates = {"input_dropout": dropout(0.0, scaling), "hidden_dropout": dropout(0.0, scaling)}
    config = MLPConfig(**{"hidden": (8,), **rates, place: dropout(1.0, scaling)})
    with pytest.raises(ValueError, match="keeps nothing"):
        convert(config, training_config(), to=to)
    assert convert(config, training_config(), to=scaling).weight_factors == (1.0, 1.0)


def test_what_has_no_factor_to_it_is_refused() -> None:
    with pytest.raises(ValueError, match="norm over all layers"):
        convert(network_config(), training_config(max_grad_norm=1.0), to="inverted")
    annealed = training_config(scheduler=CosineConfig(name="cosine", min_lr=1e-3))
    with pytest.raises(ValueError, match="min_lr"):
        convert(network_config(), annealed, to="inverted")
