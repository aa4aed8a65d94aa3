from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dropout_core.config import MLPConfig, PreprocessingConfig, TrainingConfig
from dropout_core.nn.inputs import InputLayer
from dropout_core.nn.mlp import MLP
from dropout_core.training.fused_step import FusedStep, gradients_of
from dropout_core.training.losses import Loss, training_loss
from tests.support.tensors import normal, seeded

IN_FEATURES, NUM_CLASSES, NUM_ROWS = 5, 3, 9
HIDDEN = [(), (6,), (6, 5, 4)]
CARDINALITIES = (3, 8, 11)  # of categories that are one-hot, embedded and embedded

# The networks here are at most 4 layers, forward and back 8 products of at most 9 terms each, which
# are off by a relative error of 9 * 2^-53 of a sum of magnitudes. With weights and features of
# order 1 and factors of at most 1 / (1 - 0.5), those sums stay below 10^4.
ROUNDING = 8 * 9 * 2.0**-53 * 1e4

OPTIONS = {
    "plain": {},
    "weighted": {"class_weights": (0.5, 2.0, 0.0)},
    "balanced": {"class_weights": "balanced"},
    "smoothed": {"label_smoothing": 0.2},
    "weighted and smoothed": {"class_weights": (0.5, 2.0, 1.0), "label_smoothing": 0.2},
}


def network(**config: Any) -> MLP:
    """In float64, with biases other than zero and a generator at its start."""
    sizes = {"in_features": IN_FEATURES, "out_features": config.pop("out_features", NUM_CLASSES)}
    inputs = None
    if (categories := config.pop("categories", None)) is not None:
        chosen = PreprocessingConfig(**{"max_one_hot": 4, "embedding_dim": 3, **categories})
        inputs = InputLayer(chosen, num_values=2, cardinalities=CARDINALITIES)
    model = MLP(MLPConfig(**config), inputs=inputs, **sizes).double()
    for index, parameter in enumerate(model.parameters()):
        parameter.data = normal(*parameter.shape, seed=index)
    model.use_generator(seeded())
    return model


def rows(num_rows: int = NUM_ROWS, seed: int = 50) -> tuple[Tensor, Tensor]:
    targets = torch.randint(NUM_CLASSES, (num_rows,), generator=seeded(seed))
    return normal(num_rows, IN_FEATURES, seed=seed), targets


def mixed_rows() -> tuple[Tensor, Tensor]:
    """Rows of two values and three categories."""
    x, targets = rows()
    for column, size in zip((2, 3, 4), CARDINALITIES, strict=True):
        x[:, column] = torch.randint(size, (NUM_ROWS,), generator=seeded(column))
    return x, targets


def loss_of(task: str = "multiclass", **options: Any) -> Loss:
    _, targets = rows()
    return training_loss(TrainingConfig(**options), task, targets=targets, num_outputs=NUM_CLASSES)


def gradients(model: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters()]


def by_autograd(model: MLP, loss: Loss, x: Tensor, targets: Tensor) -> Tensor:
    model.train()
    model.zero_grad()
    value = loss(model(x), targets)
    value.backward()
    return value.detach()


def both(
    config: dict[str, Any], loss: Loss | None = None, data: tuple[Tensor, Tensor] | None = None
) -> tuple[tuple[Tensor, MLP], tuple[Tensor, MLP]]:
    """The loss and the network with its gradients, by a FusedStep and by autograd."""
    given, chosen = data or rows(), loss or loss_of()
    fused, plain = network(**config), network(**config)
    return (FusedStep(fused, chosen)(*given), fused), (by_autograd(plain, chosen, *given), plain)


def assert_the_same(fused: tuple[Tensor, MLP], plain: tuple[Tensor, MLP]) -> None:
    torch.testing.assert_close(fused[0], plain[0], rtol=0, atol=ROUNDING)
    for one, other in zip(gradients(fused[1]), gradients(plain[1]), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("scaling", ["inverted", "classic"])
@pytest.mark.parametrize("of_inputs", [0.0, 0.3])
@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic"])
@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
def test_loss_gradients_and_draws_are_those_of_autograd(
    hidden: tuple[int, ...], activation: str, p: float, of_inputs: float, scaling: str
) -> None:
    fused, plain = both(
        {
            "hidden": hidden,
            "activation": activation,
            "input_dropout": {"p": of_inputs, "scaling": scaling},
            "hidden_dropout": {"p": p, "scaling": scaling},
        }
    )
    assert_the_same(fused, plain)
    states = [model.input_dropout.generator.get_state() for _, model in (fused, plain)]
    assert torch.equal(*states)
    is_drawn = of_inputs > 0 or (len(hidden) > 0 and 0 < p < 1)
    assert torch.equal(states[0], seeded().get_state()) != is_drawn


@pytest.mark.parametrize("scaling", ["inverted", "classic"])
def test_inputs_that_are_all_dropped_leave_the_biases_alone_to_learn(scaling: str) -> None:
    config = {"hidden": (6,), "input_dropout": {"p": 1.0, "scaling": scaling}}
    fused, plain = both(config)
    assert_the_same(fused, plain)
    assert not fused[1].hidden[0].linear.weight.grad.any()
    assert fused[1].hidden[0].linear.bias.grad.any()


def test_every_layer_may_have_a_rate_and_a_scaling_of_its_own() -> None:
    rates = [0.5, {"p": 0.3, "scaling": "classic"}, 0.0]
    config = {"hidden": (6, 5, 4), "hidden_dropout": rates, "activation": "tanh"}
    assert_the_same(*both({**config, "input_dropout": {"keep": 0.9, "scaling": "classic"}}))


BATCHWISE = {"kind": "batchwise", "p": 0.4}
BATCHWISE_NETWORKS = [
    {"hidden": (), "input_dropout": BATCHWISE},
    {"hidden": (6,), "hidden_dropout": BATCHWISE},
    {"hidden": (6, 5, 4), "input_dropout": BATCHWISE, "hidden_dropout": BATCHWISE},
    {"hidden": (6, 5, 4), "input_dropout": 0.3, "hidden_dropout": [BATCHWISE, 0.3, BATCHWISE]},
    {"hidden": (6, 5, 4), "input_dropout": BATCHWISE, "hidden_dropout": [0.0, BATCHWISE, 0.5]},
]


@pytest.mark.parametrize("config", BATCHWISE_NETWORKS, ids=str)
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic"])
def test_under_batchwise_dropout_they_are_those_of_autograd_too(
    activation: str, config: dict[str, Any]
) -> None:
    fused, plain = both({**config, "activation": activation})
    assert_the_same(fused, plain)
    states = [model.input_dropout.generator.get_state() for _, model in (fused, plain)]
    assert torch.equal(*states)


CATEGORY_NETWORKS = [
    {},
    {"hidden": ()},
    {"input_dropout": 0.3, "activation": "tanh"},
    {"input_dropout": {"p": 0.3, "scaling": "classic"}},
    {"input_dropout": BATCHWISE, "hidden_dropout": BATCHWISE},
    {"categories": {"unknown_rate": 0.4, "embedding_dropout": 0.5}, "input_dropout": 0.3},
    {"categories": {"max_one_hot": 16}},  # nothing to learn before the first layer
    {"input_scaling": True, "input_dropout": 0.3},
    {"categories": {"max_one_hot": 16}, "input_scaling": True},
    {"input_scaling": True, "input_dropout": BATCHWISE, "hidden_dropout": BATCHWISE},
]


@pytest.mark.parametrize("config", CATEGORY_NETWORKS, ids=str)
def test_embeddings_learn_what_autograd_would_teach_them(config: dict[str, Any]) -> None:
    with_defaults = {"hidden": (6, 5), "hidden_dropout": 0.3, "categories": {}, **config}
    for _ in range(2):  # and nothing is left over from a step before
        fused, plain = both(with_defaults, data=mixed_rows())
        assert_the_same(fused, plain)
    states = [model.inputs.generator.get_state() for _, model in (fused, plain)]
    assert torch.equal(*states)


def test_weights_of_rows_are_those_of_the_loss() -> None:
    x, targets = rows()
    weights = normal(NUM_ROWS).square()
    by_row = torch.stack(
        [
            nn.functional.cross_entropy(o, t)
            for o, t in zip(network(hidden=())(x), targets, strict=True)
        ]
    )
    config = {"hidden": (), "hidden_dropout": 0.0}
    loss = training_loss(
        TrainingConfig(), "multiclass", targets=targets, num_outputs=NUM_CLASSES, weighted=True
    )
    fused, plain = network(**config), network(**config)
    value = FusedStep(fused, loss)(x, targets, weights)
    torch.testing.assert_close(value, (weights * by_row).mean().detach(), rtol=0, atol=ROUNDING)
    assert_the_same(
        (value, fused), (by_autograd(plain, lambda o, t: loss(o, t, weights), x, targets), plain)
    )


DESCENTS = [
    {"hidden": (), "input_dropout": 0.3},
    {"hidden": (6, 5, 4), "input_dropout": 0.3, "hidden_dropout": 0.5},
    {"hidden": (6, 5), "hidden_dropout": {"p": 0.3, "scaling": "classic"}},
    *BATCHWISE_NETWORKS,
]


@pytest.mark.parametrize("config", DESCENTS, ids=str)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_plain_descent_may_be_taken_within_the_step(
    activation: str, config: dict[str, Any]
) -> None:
    config, rates = {**config, "activation": activation}, (0.25, 0.125, 0.0)
    fused, plain = network(**config), network(**config)
    within, apart = (torch.optim.SGD(model.parameters(), lr=1.0) for model in (fused, plain))
    step = gradients_of(fused, loss_of(), optimizer=within)
    for seed, rate in enumerate(rates):  # as a schedule sets them
        within.param_groups[0]["lr"] = apart.param_groups[0]["lr"] = rate
        value = step(*rows(seed=seed))
        assert all(parameter.grad is None for parameter in fused.parameters())
        within.step()
        expected = by_autograd(plain, loss_of(), *rows(seed=seed))
        apart.step()
        torch.testing.assert_close(value, expected, rtol=0, atol=len(rates) * ROUNDING)
        for one, other in zip(fused.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=len(rates) * ROUNDING)


def test_embeddings_descend_beside_a_descent_within_the_step() -> None:
    config = {"hidden": (6,), "hidden_dropout": 0.3, "input_dropout": 0.3, "categories": {}}
    fused, plain = network(**config), network(**config)
    within, apart = (torch.optim.SGD(model.parameters(), lr=0.25) for model in (fused, plain))
    step = gradients_of(fused, loss_of(), optimizer=within)
    for _ in range(3):
        step(*mixed_rows())
        within.step()
        by_autograd(plain, loss_of(), *mixed_rows())
        apart.step()
    for one, other in zip(fused.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=3 * ROUNDING)


@pytest.mark.parametrize(
    "make",
    [
        lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5),
        lambda model: torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.5),
        lambda model: torch.optim.SGD(model.parameters(), lr=0.1, maximize=True),
        lambda model: torch.optim.SGD([{"params": [p]} for p in model.parameters()], lr=0.1),
        lambda model: torch.optim.Adam(model.parameters()),
    ],
)
def test_what_is_more_than_plain_descent_is_left_to_its_optimizer(
    make: Callable[[MLP], torch.optim.Optimizer],
) -> None:
    config = {"hidden": (6,), "hidden_dropout": 0.3}
    model, plain = network(**config), network(**config)
    with pytest.raises(ValueError, match="more than plain gradient descent"):
        FusedStep(model, loss_of(), descent=make(model))
    value = gradients_of(model, loss_of(), optimizer=make(model))(*rows())
    assert_the_same((value, model), (by_autograd(plain, loss_of(), *rows()), plain))
    assert all(
        torch.equal(*pair) for pair in zip(model.parameters(), plain.parameters(), strict=True)
    )


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_every_loss_of_classes_has_the_gradients_of_autograd(options: dict[str, Any]) -> None:
    assert_the_same(*both({"hidden": (6, 5)}, loss_of(**options)))


def test_a_regression_has_the_gradients_of_autograd() -> None:
    config = {"hidden": (6, 5), "out_features": 1, "activation": "tanh"}
    data = (rows()[0], normal(NUM_ROWS, 1, seed=7))
    assert_the_same(*both(config, loss_of("regression"), data))


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic"])
@pytest.mark.parametrize("scaling", ["inverted", "classic"])
def test_gradients_are_those_of_finite_differences(activation: str, scaling: str) -> None:
    # Central differences of a step h are off by h^2 times a third derivative, and by 2^-53 / h: for
    # h = 2^-18, the cube root of 2^-53, both are of order 2^-36. Third derivatives stay below 100.
    config = {
        "hidden": (4, 3),
        "activation": activation,
        "input_dropout": {"p": 0.2, "scaling": scaling},
        "hidden_dropout": {"p": 0.3, "scaling": scaling},
    }
    model, loss, step = network(**config), loss_of(), 2.0**-18
    FusedStep(model, loss)(*rows())

    def loss_at(parameter: Tensor, index: int, offset: float) -> Tensor:
        moved = parameter.data.clone()
        parameter.data.view(-1)[index] += offset
        model.use_generator(seeded())
        with torch.no_grad():
            value = loss(model(rows()[0]), rows()[1])
        parameter.data = moved
        return value

    for parameter in model.parameters():
        for index, slope in enumerate(parameter.grad.view(-1).tolist()):
            rise = loss_at(parameter, index, step) - loss_at(parameter, index, -step)
            assert rise.item() / (2 * step) == pytest.approx(slope, rel=0, abs=100 * 2.0**-36)


@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
@pytest.mark.parametrize("make", [FusedStep, gradients_of])
def test_gradients_are_those_of_the_last_batch_alone(
    make: Callable[[MLP, Loss], Callable[[Tensor, Tensor], Tensor]], hidden: tuple[int, ...]
) -> None:
    config = {"hidden": hidden, "input_dropout": 0.3, "hidden_dropout": 0.5}
    later, fresh = network(**config), network(**config)
    step = make(later, loss_of())
    for seed in (1, 2):
        step(*rows(seed=seed))
    for parameter in later.parameters():
        parameter.grad.fill_(torch.nan)
    later.use_generator(seeded())
    value = step(*rows(seed=3))
    assert torch.equal(value, make(fresh, loss_of())(*rows(seed=3)))
    for one, other in zip(gradients(later), gradients(fresh), strict=True):
        assert torch.equal(one, other)


def test_batches_may_be_of_any_size_and_gradients_may_be_thrown_away_between() -> None:
    config = {"hidden": (6, 5), "input_dropout": 0.3, "hidden_dropout": 0.5}
    model, plain = network(**config), network(**config)
    step = FusedStep(model, loss_of())
    for seed, num_rows in enumerate([NUM_ROWS, 4, 1, NUM_ROWS + 3]):
        data = rows(num_rows, seed)
        value = step(*data)
        assert_the_same((value, model), (by_autograd(plain, loss_of(), *data), plain))
        if seed == 1:
            model.zero_grad(set_to_none=True)


@pytest.mark.parametrize("p", [0.0, 0.5])
@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
def test_the_callers_rows_and_the_weights_are_left_alone(hidden: tuple[int, ...], p: float) -> None:
    model = network(hidden=hidden, input_dropout=p, hidden_dropout=p)
    weights = [parameter.detach().clone() for parameter in model.parameters()]
    x, targets = rows()
    FusedStep(model, loss_of())(x, targets)
    assert torch.equal(x, rows()[0])
    assert torch.equal(targets, rows()[1])
    assert not x.requires_grad
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), weights, strict=True))


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_the_loss_comes_without_its_history(activation: str) -> None:
    model = network(hidden=(6,), activation=activation)
    value = gradients_of(model, loss_of())(*rows())
    assert value.shape == ()
    assert not value.requires_grad
    assert all(not p.grad.requires_grad and p.requires_grad for p in model.parameters())


def test_rows_may_lie_in_memory_in_any_order() -> None:
    x, targets = rows()
    model = network(hidden=(6,), input_dropout=0.3)
    value = FusedStep(model, loss_of())(x.T.contiguous().T, targets)
    assert_the_same((value, model), both({"hidden": (6,), "input_dropout": 0.3})[1])


UNFIT = {
    "gelu": {"activation": "gelu"},
    "maxout": {"activation": "maxout"},
    "batch norm": {"batch_norm": True},
    "gaussian": {"hidden_dropout": {"kind": "gaussian", "p": 0.5}},
    "gaussian inputs": {"input_dropout": {"kind": "gaussian", "p": 0.5}},
    "groups": {"hidden_dropout": {"kind": "batchwise", "p": 0.5, "group_size": 4}},
    "groups of inputs": {"input_dropout": {"kind": "batchwise", "p": 0.5, "group_size": 4}},
    "dropconnect": {"hidden_dropout": {"kind": "dropconnect", "p": 0.5}},
    "one of three": {"hidden": (6, 5, 4), "hidden_dropout": [0, 0, {"kind": "gaussian", "p": 0.5}]},
}


@pytest.mark.parametrize("config", UNFIT.values(), ids=list(UNFIT))
def test_a_network_that_does_not_fit_is_refused_and_left_to_autograd(
    config: dict[str, Any],
) -> None:
    config = {"hidden": (6,), **config}
    model, plain = network(**config), network(**config)
    assert not FusedStep.fits(model)
    with pytest.raises(ValueError, match="need autograd"):
        FusedStep(model, loss_of())
    chosen = gradients_of(model, loss_of())
    assert not isinstance(chosen, FusedStep)
    value = chosen(*rows())
    assert torch.equal(value, by_autograd(plain, loss_of(), *rows()))
    for one, other in zip(gradients(model), gradients(plain), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic"])
def test_a_plain_network_takes_the_fused_step(activation: str, hidden: tuple[int, ...]) -> None:
    rates = {"input_dropout": {"p": 0.3, "scaling": "classic"}, "hidden_dropout": 0.5}
    model = network(hidden=hidden, activation=activation, max_norm=1.0, **rates)
    assert FusedStep.fits(model)
    assert isinstance(gradients_of(model, loss_of()), FusedStep)


def test_bfloat16_needs_autograd_where_there_is_a_hidden_layer_to_round() -> None:
    model, linear = network(hidden=(6,)), network(hidden=())
    for each in (model, linear):
        each.use_bfloat16(True)
    assert not FusedStep.fits(model)
    assert FusedStep.fits(linear)
    model.use_bfloat16(False)
    assert FusedStep.fits(model)


def test_weights_that_are_not_to_learn_need_autograd() -> None:
    model = network(hidden=(6,))
    model.output.weight.requires_grad_(False)
    assert not FusedStep.fits(model)


def test_a_generator_put_into_use_later_is_the_one_that_is_drawn_from() -> None:
    config = {"hidden": (6,), "input_dropout": 0.3, "hidden_dropout": 0.5}
    model, plain = network(**config), network(**config)
    step = FusedStep(model, loss_of())
    for each in (model, plain):
        each.use_generator(seeded(5))
    before = torch.get_rng_state()
    assert_the_same((step(*rows()), model), (by_autograd(plain, loss_of(), *rows()), plain))
    assert torch.equal(torch.get_rng_state(), before)


def test_float32_stays_float32() -> None:
    model, (x, targets) = network(hidden=(6, 5), hidden_dropout=0.3).float(), rows()
    value = FusedStep(model, loss_of(class_weights="balanced"))(x.float(), targets)
    assert value.dtype == torch.float32
    assert all(gradient.dtype == torch.float32 for gradient in gradients(model))
