import math

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from dropout_core.config import DropoutConfig, MLPConfig
from dropout_core.nn import activations
from dropout_core.nn.functional import linear_dropout
from dropout_core.nn.layers import Dropout
from dropout_core.nn.mlp import MLP
from tests.support.statistics import tolerance

BATCHWISE = {"kind": "batchwise", "p": 0.5}
GAUSSIAN = {"kind": "gaussian", "p": 0.5}
DROPCONNECT = {"kind": "dropconnect", "p": 0.5}
DROPOUTS = [
    0.5,
    {"p": 0.5, "scaling": "classic"},
    GAUSSIAN,
    BATCHWISE,
    {**BATCHWISE, "group_size": 4},
    DROPCONNECT,
    {**DROPCONNECT, "masks": "per_batch"},
]
ACTIVATIONS = ["relu", "tanh", "logistic", "gelu", "selu", "mish", "maxout"]


def build(seed: int = 0, in_features: int = 5, out_features: int = 2, **config: object) -> MLP:
    return MLP(MLPConfig(**config), in_features=in_features, out_features=out_features, seed=seed)


def inputs(num_rows: int = 8, num_features: int = 5) -> Tensor:
    return torch.randn(num_rows, num_features, generator=Generator().manual_seed(1))


def linears(model: MLP) -> list[nn.Linear]:
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


@pytest.mark.parametrize(
    ("config", "layers"),
    [
        ({"hidden": []}, "Dropout Linear"),
        ({"hidden": [], "input_dropout": GAUSSIAN}, "GaussianDropout Linear"),
        ({"hidden": [3]}, "Dropout Linear ReLU Dropout Linear"),
        (
            {"hidden": [3, 4], "hidden_dropout": [0, GAUSSIAN], "activation": "tanh"},
            "Dropout Linear Tanh Dropout Linear Tanh GaussianDropout Linear",
        ),
        (
            {"hidden": [3], "batch_norm": True, "activation": "gelu"},
            "Dropout Linear BatchNorm1d GELU Dropout Linear",
        ),
        (
            {"hidden": [3], "input_dropout": BATCHWISE, "hidden_dropout": BATCHWISE},
            "BatchwiseDropout Linear ReLU BatchwiseDropout Linear",
        ),
        (
            {"hidden": [3], "hidden_dropout": DROPCONNECT, "activation": "maxout"},
            "Dropout DropConnectLinear Maxout Identity Linear",
        ),
    ],
)
def test_the_layers_are_what_the_config_says(config: dict[str, object], layers: str) -> None:
    modules = [module for module in build(**config).modules() if not list(module.children())]
    names = [type(module).__name__ for module in modules if not isinstance(module, nn.ModuleList)]
    assert names == layers.split()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dropout", [0, {"keep": 1.0}])
def test_without_dropout_training_computes_what_eval_mode_does(
    dropout: object, activation: str
) -> None:
    model = build(input_dropout=dropout, hidden_dropout=dropout, activation=activation)
    torch.testing.assert_close(model.train()(inputs()), model.eval()(inputs()))


def test_widths_probabilities_and_scalings_are_those_of_the_config() -> None:
    model = build(hidden=[3, 4], hidden_dropout=[0.1, {"keep": 0.25, "scaling": "classic"}])
    widths = [(layer.in_features, layer.out_features) for layer in linears(model)]
    assert widths == [(5, 3), (3, 4), (4, 2)]
    dropouts = [module for module in model.modules() if isinstance(module, Dropout)]
    kinds = [(layer.p, layer.scaling) for layer in dropouts]
    assert kinds == [(0.0, "inverted"), (0.1, "inverted"), (0.75, "classic")]


def test_options_of_dropconnect_are_those_of_the_config() -> None:
    shared = {"kind": "dropconnect", "keep": 0.25, "masks": "per_batch"}
    first, second, _ = linears(build(hidden=[3, 4], hidden_dropout=[DROPCONNECT, shared]))
    assert (first.p, first.per_example) == (0.5, True)
    assert (second.p, second.per_example) == (0.75, False)


def test_biases_are_zero_and_there_is_none_before_batch_norm() -> None:
    assert all((layer.bias == 0).all() for layer in linears(build()))
    *hidden, last = linears(build(batch_norm=True))
    assert all(layer.bias is None for layer in hidden)
    assert (last.bias == 0).all()


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        ("relu", F.relu),
        ("tanh", torch.tanh),
        ("logistic", torch.sigmoid),
        ("gelu", F.gelu),
        ("selu", F.selu),
        ("mish", activations.mish),
        ("maxout", lambda x: x.view(len(x), -1, 2).amax(dim=2)),
    ],
)
def test_every_activation_computes_its_function(activation: str, function: object) -> None:
    model = build(hidden=[6, 4], activation=activation).eval()
    first, second, last = linears(model)
    assert torch.equal(model(inputs()), last(function(second(function(first(inputs()))))))


def test_without_hidden_layers_the_model_is_linear() -> None:
    model = build(hidden=[])
    (layer,) = linears(model)
    assert torch.equal(model(inputs()), F.linear(inputs(), layer.weight, layer.bias))


@pytest.mark.parametrize(
    ("init", "std", "is_uniform"),
    [
        ("kaiming_uniform", math.sqrt(2 / 500), True),
        ("kaiming_normal", math.sqrt(2 / 500), False),
        ("xavier_uniform", math.sqrt(2 / 900), True),
        ("xavier_normal", math.sqrt(2 / 900), False),
        ("lecun_normal", math.sqrt(1 / 500), False),
        ("normal", 0.01, False),
    ],
)
def test_inits_have_the_moments_of_their_distribution(
    init: str, std: float, is_uniform: bool
) -> None:
    # The mean of n weights has variance std^2 / n; that of their squares (m4 - std^4) / n, the
    # fourth moment m4 being 9/5 std^4 if uniform and 3 std^4 if normal.
    model = build(init=init, hidden=[], in_features=500, out_features=400)
    weight = linears(model)[0].weight.detach().double()
    kurtosis = 1.8 if is_uniform else 3.0
    assert abs(weight.mean()) < tolerance(std**2, weight.numel())
    spread = abs(weight.square().mean() - std**2)
    assert spread < tolerance((kurtosis - 1) * std**4, weight.numel())
    # A uniform one ends at sqrt(3) std; of 200,000 normal draws some lie beyond.
    assert (weight.abs().max() <= math.sqrt(3) * std * (1 + 1e-6)) == is_uniform


def test_the_weights_of_the_output_may_start_at_zero_and_no_others_change() -> None:
    plain, zero = build(), build(zero_output=True)
    assert not zero(inputs()).any()
    for one, other in zip(plain.linears[:-1], zero.linears[:-1], strict=True):
        assert torch.equal(one.weight, other.weight)


def test_inputs_are_scaled_by_learned_factors_before_they_are_dropped() -> None:
    plain, scaled = build(), build(input_scaling=True)
    assert torch.equal(scaled.eval()(inputs()), plain.eval()(inputs()))  # they begin at one
    factors = torch.tensor([0.0, 1.0, -2.0, 0.5, 3.0])
    scaled.scaling.weight.data = factors.clone()
    assert torch.equal(scaled(inputs()), plain(inputs() * factors))
    assert scaled.scaling.weight in set(scaled.parameters())


@pytest.mark.parametrize("activation", ["relu", "tanh", "selu", "mish"])
def test_a_parametric_activation_is_between_none_and_all_of_it(activation: str) -> None:
    plain = build(hidden=[6], activation=activation).eval()
    model = build(hidden=[6], activation=activation, parametric_activation=True).eval()
    assert torch.equal(model(inputs()), plain(inputs()))  # it begins as the activation itself
    mix = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0, 1.5])
    model.hidden[0].activation.mix.data = mix.clone()
    before = model.hidden[0].linear(inputs())
    after = plain.hidden[0].activation(before.clone())
    expected = model.output((1 - mix) * before + mix * after)
    torch.testing.assert_close(model(inputs()), expected)


def test_weights_are_a_function_of_the_seed() -> None:
    torch.manual_seed(1)
    first = build(seed=7).state_dict()
    torch.manual_seed(2)
    second = build(seed=7).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["output.weight"], build(seed=8).state_dict()["output.weight"])


def test_initialise_draws_the_same_weights_anew() -> None:
    model, fresh = build(seed=3), build(seed=3)
    nn.init.ones_(model.hidden[0].linear.weight)
    nn.init.ones_(model.hidden[0].linear.bias)
    model.initialise(3)
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)


@pytest.mark.parametrize("max_norm", [1e-3, 0.5, 2.0])
def test_no_unit_exceeds_the_max_norm_and_those_within_keep_their_bits(max_norm: float) -> None:
    model = build(hidden=[50, 50], max_norm=max_norm)
    before = [layer.weight.detach().clone() for layer in linears(model)]
    model.constrain()
    for old, layer in zip(before, linears(model), strict=True):
        within = old.norm(dim=1) <= max_norm
        assert (layer.weight.norm(dim=1) <= max_norm * (1 + 1e-6)).all()
        assert torch.equal(layer.weight[within], old[within])
        scaled = old / old.norm(dim=1, keepdim=True) * max_norm
        torch.testing.assert_close(layer.weight[~within], scaled[~within])


def test_each_layer_may_have_a_max_norm_of_its_own() -> None:
    model = build(hidden=[50, 50], max_norm=2.0)
    assert model.max_norms == [2.0] * 3
    model.max_norms = [0.25, 0.5, 1e-3]
    model.constrain()
    for bound, layer in zip(model.max_norms, linears(model), strict=True):
        largest = layer.weight.norm(dim=1).max().item()
        assert largest == pytest.approx(bound, rel=1e-4)  # torch adds 1e-7 to what it divides by
        assert largest <= bound * (1 + 1e-6)


@pytest.mark.parametrize("dropout", [0.5, DROPCONNECT], ids=str)
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("hidden", [[], [3], [3, 4]])
def test_the_linear_layers_go_from_the_first_to_the_output(
    hidden: list[int], batch_norm: bool, dropout: object
) -> None:
    model = build(hidden=hidden, batch_norm=batch_norm, hidden_dropout=dropout)
    assert model.linears == linears(model)
    assert [layer.out_features for layer in model.linears] == [*hidden, 2]


def test_without_a_max_norm_nothing_is_constrained() -> None:
    model = build()
    assert model.max_norms is None
    nn.init.constant_(model.hidden[0].linear.weight, 1e9)
    model.constrain()
    assert (model.hidden[0].linear.weight == 1e9).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dropout", DROPOUTS, ids=str)
def test_every_mask_comes_from_the_generator_in_use(dropout: object, activation: str) -> None:
    of_the_input = 0.5 if "dropconnect" in str(dropout) else dropout
    model = build(input_dropout=of_the_input, hidden_dropout=dropout, activation=activation)
    outputs = []
    for seed in (1, 1, 2):
        model.use_generator(Generator().manual_seed(seed))
        before = torch.get_rng_state()
        outputs.append(model(inputs()))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


@pytest.mark.parametrize("dropout", DROPOUTS, ids=str)
def test_without_a_generator_masks_come_from_the_global_one(dropout: object) -> None:
    model = build(hidden_dropout=dropout)
    model.use_generator(Generator())
    model.use_generator(None)
    before = torch.get_rng_state()
    model(inputs())
    assert not torch.equal(torch.get_rng_state(), before)


def test_classic_dropout_scales_at_inference_and_not_in_training() -> None:
    classic = build(hidden=[], input_dropout=DropoutConfig(p=0.5, scaling="classic"))
    plain = build(hidden=[])
    torch.testing.assert_close(classic.eval()(inputs()), plain(inputs() * 0.5))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dropout", DROPOUTS, ids=str)
def test_in_eval_mode_every_dropout_but_a_classic_one_is_no_dropout(
    dropout: object, activation: str
) -> None:
    of_the_input = 0.5 if "dropconnect" in str(dropout) else dropout
    model = build(input_dropout=of_the_input, hidden_dropout=dropout, activation=activation).eval()
    plain = build(hidden_dropout=0.0, activation=activation).eval()
    assert torch.equal(model(inputs()), plain(inputs())) == ("classic" not in str(dropout))


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_names_and_weights_do_not_depend_on_the_dropout(activation: str, batch_norm: bool) -> None:
    options = {"activation": activation, "batch_norm": batch_norm}
    plain = build(hidden_dropout=0.0, **options).state_dict()
    for dropout in DROPOUTS[:3] + DROPOUTS[5:] if batch_norm else DROPOUTS:
        state = build(hidden_dropout=dropout, **options).state_dict()
        assert list(state) == list(plain)
        assert all(torch.equal(state[name], plain[name]) for name in plain)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_state_makes_another_network_the_same(activation: str) -> None:
    options = {"activation": activation, "batch_norm": True}
    model, other = build(seed=1, **options), build(seed=2, **options)
    model(inputs())  # moves the statistics of batch norm
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.eval()(inputs()), model.eval()(inputs()))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dropout", [0.5, DROPCONNECT], ids=str)
def test_an_exported_network_answers_as_it_does(dropout: object, activation: str) -> None:
    model = build(hidden_dropout=dropout, activation=activation).eval()
    rows = torch.export.Dim("rows", min=1)
    exported = torch.export.export(model, (inputs(),), dynamic_shapes=({0: rows},)).module()
    for num_rows in (1, 8, 33):
        assert torch.equal(exported(inputs(num_rows)), model(inputs(num_rows)))


def test_the_global_generator_decides_no_weight() -> None:
    before = torch.get_rng_state()
    build(hidden_dropout=DROPCONNECT, batch_norm=True)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic"])
def test_bfloat16_rounds_hidden_layers_in_training_alone(activation: str) -> None:
    model = build(hidden_dropout=0.0, activation=activation)
    exact = model(inputs())
    model.use_bfloat16(True)
    rounded = model(inputs())
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert torch.equal(model.eval()(inputs()), build(activation=activation).eval()(inputs()))
    model.train().use_bfloat16(False)
    assert torch.equal(model(inputs()), exact)


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic"])
@pytest.mark.parametrize("scaling", ["inverted", "classic"])
def test_bfloat16_rounds_the_products_of_hidden_layers_and_nothing_else(
    activation: str, scaling: str
) -> None:
    dropout = {"p": 0.3, "scaling": scaling}
    model = build(hidden=[6, 4], activation=activation, hidden_dropout=dropout)
    model.use_bfloat16(True)
    model.use_generator(Generator().manual_seed(1))
    stream = Generator().manual_seed(1)
    x = inputs()
    for layer in model.linears[:-1]:
        x = linear_dropout(
            x,
            layer.weight,
            layer.bias,
            0.3,
            activation=activation,
            generator=stream,
            scale={"classic": 1.0, "inverted": None}[scaling],
            bfloat16=True,
        )
    assert torch.equal(model(inputs()), model.output(x))


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic"])
@pytest.mark.parametrize("scaling", ["inverted", "classic"])
def test_a_layer_in_one_step_is_the_layer_in_several(activation: str, scaling: str) -> None:
    dropout = {"p": 0.3, "scaling": scaling}
    model = build(hidden=[6, 4], activation=activation, hidden_dropout=dropout)
    model.use_generator(Generator().manual_seed(1))
    result = model(inputs())
    model.use_generator(Generator().manual_seed(1))
    x = inputs()
    for layer in model.hidden:
        x = layer.dropout(layer.activation(layer.linear(x)))
    torch.testing.assert_close(result, model.output(x))
