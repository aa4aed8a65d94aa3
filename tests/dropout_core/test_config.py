import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from dropout_core.config import (
    AdamConfig,
    AdamWConfig,
    Config,
    CosineConfig,
    Coslog4Config,
    DropoutConfig,
    EarlyStoppingConfig,
    FlatCosineConfig,
    LinearConfig,
    MLPConfig,
    OneCycleConfig,
    PreprocessingConfig,
    SGDConfig,
    SplitConfig,
    StepConfig,
    TrainingConfig,
)

ONE_OF_EACH = [
    DropoutConfig(p=0.5),
    DropoutConfig(keep=0.8, scaling="classic"),
    DropoutConfig(kind="gaussian", p=0.5),
    DropoutConfig(kind="batchwise", p=0.5, group_size=8),
    DropoutConfig(kind="dropconnect", keep=0.5, masks="per_batch"),
    DropoutConfig(kind="dropconnect", p=1.0),
    MLPConfig(),
    MLPConfig(hidden=(8,), activation="maxout", maxout_pieces=3),
    MLPConfig(hidden=(8, 8), hidden_dropout=[DropoutConfig(kind="batchwise", p=0.5), 0.5]),
    MLPConfig(hidden=(), activation="gelu", max_norm=3.0, init="normal"),
    MLPConfig(hidden=(3, 4), hidden_dropout=(0.1, DropoutConfig(keep=0.5)), batch_norm=True),
    MLPConfig(activation="mish", parametric_activation=True, input_scaling=True, zero_output=True),
    MLPConfig(init="lecun_normal", members=64, member_sharing="nothing"),
    SGDConfig(momentum=0.9, nesterov=True),
    AdamConfig(betas=(0.5, 0.9)),
    AdamWConfig(),
    StepConfig(name="step", step_size=2),
    CosineConfig(name="cosine"),
    LinearConfig(name="linear"),
    OneCycleConfig(name="one_cycle", max_lr=1.0),
    Coslog4Config(name="coslog4"),
    FlatCosineConfig(flat=0.0),
    EarlyStoppingConfig(),
    EarlyStoppingConfig(monitor="mae", ties="last", refit=True),
    TrainingConfig(),
    TrainingConfig(scheduler=Coslog4Config(name="coslog4"), layer_rates="ntk", calibrate=True),
    TrainingConfig(weight_decay_schedule=FlatCosineConfig(), dropout_schedule=FlatCosineConfig()),
    TrainingConfig(loss="absolute"),
    TrainingConfig(quantiles=[0.1, 0.5, 0.9]),
    TrainingConfig(optimizer=SGDConfig(), scheduler=CosineConfig(name="cosine"), seed=2**53 - 1),
    TrainingConfig(class_weights="balanced", label_smoothing=0.1, precision="bfloat16"),
    TrainingConfig(class_weights=(0.5, 0.0, 2.0), max_grad_norm=1.0, ema_decay=0.999),
    SplitConfig(validation=0.0, test=0.5),
]

BATCHWISE = {"kind": "batchwise", "p": 0.5}

REFUSED: list[tuple[type[Config], dict[str, Any]]] = [
    (DropoutConfig, {}),
    (DropoutConfig, {"p": 0.5, "keep": 0.5}),
    (DropoutConfig, {"p": -0.01}),
    (DropoutConfig, {"p": 1.01}),
    (DropoutConfig, {"keep": 1.01}),
    (DropoutConfig, {"p": "0.5"}),
    (DropoutConfig, {"p": True}),
    (DropoutConfig, {"p": 0.5, "kind": "unheard of"}),
    (DropoutConfig, {"p": 0.5, "scaling": "none"}),
    (DropoutConfig, {"p": 0.5, "kind": "batchwise", "group_size": 0}),
    (DropoutConfig, {"p": 0.5, "kind": "batchwise", "group_size": 2.0}),
    (DropoutConfig, {"p": 0.5, "kind": "dropconnect", "masks": "per_unit"}),
    (DropoutConfig, {"kind": "gaussian"}),
    (MLPConfig, {"maxout_pieces": 1}),
    (MLPConfig, {"maxout_pieces": 17}),
    (MLPConfig, {"hidden": [0]}),
    (MLPConfig, {"hidden": [-1]}),
    (MLPConfig, {"hidden": [65_537]}),
    (MLPConfig, {"hidden": [1] * 65}),
    (MLPConfig, {"hidden": [8.0]}),
    (MLPConfig, {"hidden": ["8"]}),
    (MLPConfig, {"hidden": [True]}),
    (MLPConfig, {"hidden": 8}),
    (MLPConfig, {"hidden": None}),
    (MLPConfig, {"activation": "swish"}),
    (MLPConfig, {"input_dropout": 1.5}),
    (MLPConfig, {"input_dropout": True}),
    (MLPConfig, {"hidden_dropout": "0.5"}),
    (MLPConfig, {"hidden_dropout": True}),
    (MLPConfig, {"hidden_dropout": None}),
    (MLPConfig, {"hidden_dropout": 1.5}),
    (MLPConfig, {"hidden_dropout": [0.5]}),
    (MLPConfig, {"hidden_dropout": [0.5, 0.5, 0.5]}),
    (MLPConfig, {"hidden_dropout": [0.5, 1.5]}),
    (MLPConfig, {"hidden": [], "hidden_dropout": [0.5]}),
    (MLPConfig, {"hidden": [], "hidden_dropout": 1.5}),
    (MLPConfig, {"hidden": [], "hidden_dropout": "0.5"}),
    (MLPConfig, {"batch_norm": 1}),
    (MLPConfig, {"max_norm": 0}),
    (MLPConfig, {"max_norm": -1.0}),
    (MLPConfig, {"init": "zeros"}),
    (SGDConfig, {"lr": 0}),
    (SGDConfig, {"momentum": 1.0}),
    (SGDConfig, {"momentum": -0.1}),
    (SGDConfig, {"nesterov": True}),
    (SGDConfig, {"weight_decay": -1e-9}),
    (AdamConfig, {"betas": [0.9]}),
    (AdamConfig, {"betas": [0.9, 1.0]}),
    (AdamConfig, {"eps": 0.0}),
    (AdamWConfig, {"lr": "0.1"}),
    (StepConfig, {"name": "step"}),
    (StepConfig, {"name": "step", "step_size": 0}),
    (StepConfig, {"name": "step", "step_size": 1, "gamma": 1.1}),
    (CosineConfig, {"name": "cosine", "min_lr": -1.0}),
    (LinearConfig, {"name": "linear", "start_factor": 0.0}),
    (OneCycleConfig, {"name": "one_cycle"}),
    (OneCycleConfig, {"name": "one_cycle", "max_lr": 1.0, "warmup": 0.0}),
    (OneCycleConfig, {"name": "one_cycle", "max_lr": 1.0, "warmup": 1.0}),
    (FlatCosineConfig, {"flat": 1.0}),
    (FlatCosineConfig, {"flat": -0.1}),
    (Coslog4Config, {"name": "coslog4", "min_lr": 0.1}),
    (EarlyStoppingConfig, {"ties": "any"}),
    (EarlyStoppingConfig, {"refit": "always"}),
    (TrainingConfig, {"dropout_schedule": {"name": "cosine"}}),
    (TrainingConfig, {"layer_rates": "mup"}),
    (TrainingConfig, {"loss": "huber"}),
    (TrainingConfig, {"quantiles": []}),
    (TrainingConfig, {"quantiles": [0.0]}),
    (TrainingConfig, {"quantiles": [1.0]}),
    (TrainingConfig, {"quantiles": [0.9, 0.1]}),
    (TrainingConfig, {"quantiles": [0.5, 0.5]}),
    (TrainingConfig, {"quantiles": [number / 101 for number in range(1, 101)]}),
    (EarlyStoppingConfig, {"patience": 0}),
    (EarlyStoppingConfig, {"min_delta": -0.1}),
    (TrainingConfig, {"epochs": 0}),
    (TrainingConfig, {"epochs": 100_001}),
    (TrainingConfig, {"epochs": 1.5}),
    (TrainingConfig, {"batch_size": 0}),
    (TrainingConfig, {"batch_size": True}),
    (TrainingConfig, {"optimizer": {"name": "lion"}}),
    (TrainingConfig, {"optimizer": {"lr": 0.1}}),
    (TrainingConfig, {"optimizer": {"name": "adam", "momentum": 0.9}}),
    (TrainingConfig, {"scheduler": {"name": "never"}}),
    (TrainingConfig, {"scheduler": "cosine"}),
    (TrainingConfig, {"max_runtime_seconds": 0}),
    (TrainingConfig, {"class_weights": "uniform"}),
    (TrainingConfig, {"class_weights": 2.0}),
    (TrainingConfig, {"class_weights": [1.0] * 10_001}),
    (TrainingConfig, {"class_weights": [1.0, -0.1]}),
    (TrainingConfig, {"class_weights": [1.0, "2"]}),
    (TrainingConfig, {"class_weights": [1.0, True]}),
    (TrainingConfig, {"class_weights": [1.0, None]}),
    (TrainingConfig, {"class_weights": {"a": 1.0, "b": 2.0}}),
    (TrainingConfig, {"label_smoothing": -0.1}),
    (TrainingConfig, {"label_smoothing": 1.0}),
    (TrainingConfig, {"label_smoothing": None}),
    (TrainingConfig, {"label_smoothing": True}),
    (TrainingConfig, {"max_grad_norm": 0.0}),
    (TrainingConfig, {"max_grad_norm": -1.0}),
    (TrainingConfig, {"ema_decay": 0.0}),
    (TrainingConfig, {"ema_decay": 1.0}),
    (TrainingConfig, {"ema_decay": "0.9"}),
    (TrainingConfig, {"precision": "float16"}),
    (TrainingConfig, {"precision": None}),
    (TrainingConfig, {"seed": -1}),
    (TrainingConfig, {"seed": 2**53}),
    (TrainingConfig, {"device": "tpu"}),
    (SplitConfig, {"validation": 1.0}),
    (SplitConfig, {"test": -0.1}),
    (SplitConfig, {"validation": 0.5, "test": 0.5}),
]


@pytest.mark.parametrize(("kind", "values"), REFUSED, ids=str)
def test_bad_values_are_refused_in_python_and_in_json(
    kind: type[Config], values: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError):
        kind.model_validate(values)
    with pytest.raises(ValidationError):
        kind.model_validate_json(json.dumps(values))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("kind", "values", "field"),
    [
        (DropoutConfig, {}, "p"),
        (DropoutConfig, {}, "keep"),
        (MLPConfig, {}, "input_dropout"),
        (MLPConfig, {}, "hidden_dropout"),
        (MLPConfig, {}, "max_norm"),
        (SGDConfig, {}, "lr"),
        (SGDConfig, {}, "weight_decay"),
        (AdamConfig, {}, "eps"),
        (CosineConfig, {"name": "cosine"}, "min_lr"),
        (OneCycleConfig, {"name": "one_cycle"}, "max_lr"),
        (EarlyStoppingConfig, {}, "min_delta"),
        (TrainingConfig, {}, "max_runtime_seconds"),
        (TrainingConfig, {}, "label_smoothing"),
        (TrainingConfig, {}, "max_grad_norm"),
        (TrainingConfig, {}, "ema_decay"),
        (SplitConfig, {}, "test"),
    ],
)
def test_numbers_that_are_not_finite_are_refused(
    kind: type[Config], values: dict[str, Any], field: str, number: float
) -> None:
    with pytest.raises(ValidationError):
        kind.model_validate({**values, field: number})
    with pytest.raises(ValidationError):
        kind.model_validate_json(json.dumps({**values, field: number}))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_class_weights_that_are_not_finite_are_refused(number: float) -> None:
    with pytest.raises(ValidationError):
        TrainingConfig(class_weights=[1.0, number])
    with pytest.raises(ValidationError):
        TrainingConfig.model_validate_json(json.dumps({"class_weights": [1.0, number]}))


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("class_weights", ["balanced", [0, 1], [0.5] * 10_000, None]),
        ("label_smoothing", [0, 0.0, 0.999]),
        ("max_grad_norm", [1, 1e-9, 1e9, None]),
        ("ema_decay", [1e-9, 0.9999, None]),
        ("precision", ["float32", "bfloat16"]),
    ],
)
def test_values_up_to_their_bounds_are_taken(field: str, values: list[Any]) -> None:
    for value in values:
        config = TrainingConfig.model_validate_json(json.dumps({field: value}))
        assert config == TrainingConfig.model_validate({field: value})
        taken = getattr(config, field)
        assert (list(taken) if isinstance(taken, tuple) else taken) == value


def test_by_default_a_run_has_no_options_that_shape_it() -> None:
    config = TrainingConfig()
    assert (config.class_weights, config.label_smoothing) == (None, 0.0)
    assert (config.max_grad_norm, config.ema_decay, config.precision) == (None, None, "float32")


def test_the_order_of_class_weights_is_kept() -> None:
    config = TrainingConfig(class_weights=[3.0, 1.0, 2.0])
    assert config.class_weights == (3.0, 1.0, 2.0)
    assert json.loads(config.model_dump_json())["class_weights"] == [3.0, 1.0, 2.0]


@pytest.mark.parametrize("config", ONE_OF_EACH, ids=repr)
def test_unknown_fields_are_refused(config: Config) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        type(config).model_validate({**dict(config), "unheard_of": 1})


@pytest.mark.parametrize("config", ONE_OF_EACH, ids=repr)
def test_a_config_is_frozen_and_hashable(config: Config) -> None:
    for field in type(config).model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(config, field, getattr(config, field))
    assert hash(config) == hash(config.model_copy())


@pytest.mark.parametrize("config", ONE_OF_EACH, ids=repr)
def test_a_config_survives_json(config: Config) -> None:
    assert type(config).model_validate_json(config.model_dump_json()) == config


@given(st.floats(0, 1), st.lists(st.integers(1, 65_536), max_size=5))
def test_any_network_survives_json(p: float, hidden: list[int]) -> None:
    config = MLPConfig(hidden=hidden, input_dropout=p, hidden_dropout={"keep": p})
    assert MLPConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("number", [0, 0.3, 1])
def test_a_number_is_the_drop_probability_of_inverted_dropout(number: float) -> None:
    config = MLPConfig.model_validate_json(json.dumps({"input_dropout": number}))
    assert config.input_dropout == DropoutConfig(p=number)


def test_keep_is_the_other_side_of_p() -> None:
    assert DropoutConfig(keep=0.75).drop_probability == 0.25
    assert DropoutConfig(keep=0.0).drop_probability == 1.0
    assert DropoutConfig(keep=1.0).drop_probability == 0.0
    assert DropoutConfig(p=0.25).drop_probability == 0.25


@pytest.mark.parametrize("given_value", [0.5, {"p": 0.5}, DropoutConfig(p=0.5), [0.5, {"p": 0.5}]])
def test_one_dropout_serves_every_hidden_layer_or_a_list_gives_each_its_own(
    given_value: object,
) -> None:
    config = MLPConfig.model_validate({"hidden": [3, 4], "hidden_dropout": given_value})
    assert config.hidden_dropout == (DropoutConfig(p=0.5), DropoutConfig(p=0.5))


def test_a_linear_model_has_no_hidden_dropout() -> None:
    assert MLPConfig(hidden=[]).hidden_dropout == ()
    assert MLPConfig(hidden=[], hidden_dropout=0.5).hidden_dropout == ()


def test_a_wrong_number_of_dropouts_names_both_numbers() -> None:
    with pytest.raises(ValidationError, match="1 dropouts for 2 hidden layers"):
        MLPConfig(hidden=[3, 4], hidden_dropout=[0.5])


def test_an_error_says_where_it_is() -> None:
    with pytest.raises(ValidationError) as caught:
        MLPConfig(hidden=[3, 0], hidden_dropout=[0.5, 1.5])
    assert [error["loc"] for error in caught.value.errors()] == [
        ("hidden", 1),
        ("hidden_dropout", 1, "p"),
    ]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"kind": "gaussian", "scaling": "classic"}, "only `bernoulli` has `classic` scaling"),
        ({"kind": "batchwise", "scaling": "classic"}, "only `bernoulli` has `classic` scaling"),
        ({"kind": "dropconnect", "scaling": "classic"}, "only `bernoulli` has `classic` scaling"),
        ({"group_size": 4}, "only `batchwise` has a `group_size`"),
        ({"kind": "gaussian", "group_size": 4}, "only `batchwise` has a `group_size`"),
        ({"kind": "dropconnect", "group_size": 4}, "only `batchwise` has a `group_size`"),
        ({"masks": "per_batch"}, "only `dropconnect` has `masks`"),
        ({"kind": "gaussian", "masks": "per_batch"}, "only `dropconnect` has `masks`"),
        ({"kind": "batchwise", "masks": "per_example"}, "only `dropconnect` has `masks`"),
        ({"kind": "gaussian", "p": 1.0}, "this kind cannot drop everything"),
        ({"kind": "batchwise", "p": 1}, "this kind cannot drop everything"),
        ({"kind": "gaussian", "p": None, "keep": 0.0}, "this kind cannot drop everything"),
        ({"p": None}, "give exactly one of `p` and `keep`"),
        ({"kind": "gaussian", "keep": 0.5}, "give exactly one of `p` and `keep`"),
    ],
    ids=str,
)
def test_an_option_of_another_kind_is_refused_by_name(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        DropoutConfig.model_validate({"p": 0.5, **options})


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"input_dropout": {"kind": "dropconnect", "p": 0.5}}, "give it to the first hidden layer"),
        ({"input_dropout": BATCHWISE, "batch_norm": True}, "batch norm needs whole layers"),
        ({"hidden_dropout": BATCHWISE, "batch_norm": True}, "batch norm needs whole layers"),
        ({"hidden_dropout": [0, BATCHWISE], "batch_norm": True}, "batch norm needs whole layers"),
        ({"hidden_dropout": [BATCHWISE, {**BATCHWISE, "group_size": 4}]}, "the same `group_size`"),
        (
            {"input_dropout": BATCHWISE, "hidden_dropout": {**BATCHWISE, "group_size": 4}},
            "the same `group_size`",
        ),
    ],
    ids=str,
)
def test_dropouts_that_do_not_go_together_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        MLPConfig.model_validate(options)


def test_the_size_of_groups_is_that_of_any_batchwise_dropout() -> None:
    grouped = {**BATCHWISE, "group_size": 4}
    assert MLPConfig(hidden_dropout=[0.5, grouped]).group_size == 4
    assert MLPConfig(input_dropout=grouped).group_size == 4
    assert MLPConfig(input_dropout=BATCHWISE).group_size is None
    assert MLPConfig().group_size is None


def test_only_a_unit_of_maxout_has_pieces() -> None:
    assert MLPConfig(activation="maxout", maxout_pieces=3).num_pieces == 3
    assert MLPConfig(activation="relu", maxout_pieces=3).num_pieces == 1


def test_a_dropout_is_written_without_what_was_not_given() -> None:
    assert DropoutConfig(kind="batchwise", p=0.5, group_size=8).model_dump() == {
        "kind": "batchwise",
        "p": 0.5,
        "scaling": "inverted",
        "group_size": 8,
    }


PROBABILITY = {"type": "number", "minimum": 0, "maximum": 1}
NULL = {"type": "null"}
KINDS = ["bernoulli", "gaussian", "batchwise", "dropconnect"]
DROPOUT = [PROBABILITY, {"$ref": "#/$defs/DropoutConfig"}]


@pytest.mark.parametrize(
    ("kind", "field", "facts"),
    [
        (DropoutConfig, "p", {"anyOf": [PROBABILITY, {"type": "null"}]}),
        (DropoutConfig, "keep", {"anyOf": [PROBABILITY, {"type": "null"}]}),
        (
            MLPConfig,
            "hidden",
            {"items": {"type": "integer", "minimum": 1, "maximum": 65_536}, "maxItems": 64},
        ),
        (DropoutConfig, "kind", {"enum": KINDS, "default": "bernoulli"}),
        (DropoutConfig, "group_size", {"anyOf": [{"type": "integer", "minimum": 1}, NULL]}),
        (
            DropoutConfig,
            "masks",
            {"anyOf": [{"type": "string", "enum": ["per_example", "per_batch"]}, NULL]},
        ),
        (MLPConfig, "maxout_pieces", {"minimum": 2, "maximum": 16, "default": 2}),
        (MLPConfig, "input_dropout", {"anyOf": DROPOUT}),
        (
            MLPConfig,
            "hidden_dropout",
            {"anyOf": [*DROPOUT, {"type": "array", "items": {"anyOf": DROPOUT}}], "default": 0.5},
        ),
        (SGDConfig, "lr", {"exclusiveMinimum": 0}),
        (SGDConfig, "momentum", {"minimum": 0, "exclusiveMaximum": 1}),
        (TrainingConfig, "epochs", {"minimum": 1, "maximum": 100_000}),
        (TrainingConfig, "batch_size", {"minimum": 1, "maximum": 1_048_576}),
        (TrainingConfig, "seed", {"minimum": 0, "exclusiveMaximum": 2**53}),
        (TrainingConfig, "label_smoothing", {"minimum": 0, "exclusiveMaximum": 1, "default": 0.0}),
        (
            TrainingConfig,
            "max_grad_norm",
            {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, NULL], "default": None},
        ),
        (
            TrainingConfig,
            "ema_decay",
            {"anyOf": [{"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, NULL]},
        ),
        (TrainingConfig, "precision", {"enum": ["float32", "bfloat16"], "default": "float32"}),
    ],
)
def test_bounds_are_visible_in_the_json_schema(
    kind: type[Config], field: str, facts: dict[str, Any]
) -> None:
    schema = TypeAdapter(kind).json_schema(mode="validation")
    assert schema["additionalProperties"] is False
    assert facts.items() <= schema["properties"][field].items()


def test_the_two_forms_of_class_weights_are_visible_in_the_json_schema() -> None:
    field = TrainingConfig.model_json_schema()["properties"]["class_weights"]
    given, absent = field["anyOf"]
    rule, weights = given["oneOf"]
    assert (absent, field["default"]) == (NULL, None)
    assert rule == {"type": "string", "const": "balanced"}
    assert weights["type"] == "array"
    assert weights["items"] == {"type": "number", "minimum": 0}
    assert weights["maxItems"] == 10_000


@pytest.mark.parametrize(
    ("given_value", "place"),
    [("uniform", ("rule",)), ([1.0, -1.0], ("weights", 1)), ([1.0, "2"], ("weights", 1))],
)
def test_an_error_in_class_weights_is_about_the_form_that_was_meant(
    given_value: object, place: tuple[str | int, ...]
) -> None:
    with pytest.raises(ValidationError) as caught:
        TrainingConfig.model_validate({"class_weights": given_value})
    assert [error["loc"] for error in caught.value.errors()] == [("class_weights", *place)]


@pytest.mark.parametrize("config", [MLPConfig(), PreprocessingConfig(), TrainingConfig()])
def test_every_value_of_a_config_reads_back_as_the_config(config: Config) -> None:
    values = config.every_value()
    assert list(values) == list(type(config).model_fields)
    assert type(config).model_validate_json(json.dumps(values)) == config


def test_every_value_reaches_the_configs_within() -> None:
    config = TrainingConfig(early_stopping=EarlyStoppingConfig(monitor="loss"))
    assert "ties" not in config.model_dump()["early_stopping"]
    assert config.every_value()["early_stopping"]["ties"] == "first"


@pytest.mark.parametrize(
    ("options", "field", "reason"),
    [
        ({"members": 0}, "members", "greater than or equal to 1"),
        ({"members": 65}, "members", "less than or equal to 64"),
        ({"members": 2, "batch_norm": True}, "members", "batch norm cannot be used with members"),
        ({"members": 2, "hidden_dropout": BATCHWISE}, "members", "batchwise dropout cannot"),
        ({"members": 2, "input_dropout": BATCHWISE}, "members", "batchwise dropout cannot"),
        (
            {"members": 2, "hidden_dropout": [0, {"kind": "dropconnect", "p": 0.5}]},
            "members",
            "dropconnect dropout cannot",
        ),
        (
            {"parametric_activation": True, "activation": "maxout"},
            "parametric_activation",
            "already learns",
        ),
        (
            {"parametric_activation": True, "hidden_dropout": BATCHWISE},
            "parametric_activation",
            "use another dropout",
        ),
    ],
    ids=str,
)
def test_what_does_not_go_with_members_or_mixes_is_refused_at_their_field(
    options: dict[str, Any], field: str, reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason) as caught:
        MLPConfig.model_validate(options)
    assert [error["loc"] for error in caught.value.errors()] == [(field,)]
    MLPConfig.model_validate({**options, "members": 1, "parametric_activation": False})


def test_what_is_new_is_written_only_where_it_says_more() -> None:
    names = {"zero_output", "parametric_activation", "input_scaling", "members", "member_sharing"}
    assert not names & MLPConfig().model_dump().keys()
    assert MLPConfig(members=4).model_dump()["members"] == 4


@pytest.mark.parametrize("options", [{"members": 2}, {"parametric_activation": True}], ids=str)
def test_members_and_mixes_are_computed_in_float32(options: dict[str, Any]) -> None:
    assert MLPConfig(hidden_dropout=0.5).allows_bfloat16
    assert not MLPConfig(hidden_dropout=0.5, **options).allows_bfloat16
