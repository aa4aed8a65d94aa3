from typing import Any

import pytest

from dropout_core.config import AdamConfig, MLPConfig, SGDConfig, TrainingConfig, stack_key

REST = {"dataset": "ds_1", "task": "binary"}


def key(
    model: dict[str, Any] | None = None, rest: dict[str, Any] | bytes = REST, **training: Any
) -> str | None:
    return stack_key(
        model=MLPConfig(**model or {}),
        training=TrainingConfig(**{"stacked": True, **training}),
        rest=rest,
    )


def test_networks_of_one_shape_have_one_key() -> None:
    keys = {
        key(),
        key({"hidden_dropout": 0.1, "input_dropout": 0.2, "init": "normal", "max_norm": 2.0}),
        key(seed=3, epochs=7, label_smoothing=0.1, optimizer=SGDConfig(lr=0.3)),
        key(
            optimizer=AdamConfig(lr=1.0), ema_decay=0.9, max_grad_norm=1.0, class_weights="balanced"
        ),
    }
    assert len(keys) == 1
    assert len(keys.pop() or "") == 64


@pytest.mark.parametrize(
    "other",
    [
        {"model": {"hidden": (256, 255)}},
        {"model": {"activation": "tanh"}},
        {"batch_size": 64},
        {"loss": "absolute"},
        {"quantiles": (0.5,)},
        {"rest": {"dataset": "ds_2", "task": "binary"}},
        {"rest": b"ds_1"},
    ],
)
def test_what_shapes_a_step_changes_the_key(other: dict[str, Any]) -> None:
    assert key(**other) not in (key(), None)


@pytest.mark.parametrize(
    "other",
    [
        {"stacked": False},
        {"device": "cuda"},
        {"precision": "bfloat16"},
        {"model": {"batch_norm": True}},
        {"model": {"members": 2}},
        {"model": {"activation": "gelu"}},
        {"model": {"input_scaling": True}},
        {"model": {"parametric_activation": True}},
        {"model": {"hidden_dropout": {"kind": "gaussian", "p": 0.5}}},
        {"model": {"input_dropout": {"kind": "batchwise", "p": 0.5}}},
    ],
)
def test_what_no_stack_computes_has_no_key(other: dict[str, Any]) -> None:
    assert key(**other) is None


def test_a_config_of_an_earlier_release_is_not_stacked() -> None:
    assert not TrainingConfig().stacked
    assert "stacked" not in TrainingConfig().model_dump()
