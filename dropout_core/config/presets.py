"""Presets: good values for everything that a job leaves open. Free of torch.

    recipe = settled("default", task="binary", num_rows=8000, num_columns=30)
    run = TabularRun(table, **recipe._asdict())

A preset is a function of the task and of the size of the table, and the values that a job gives
itself overlay it. `_values` is the one place that says what presets are made of.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

from dropout_core.config.base import Config
from dropout_core.config.network import MLPConfig
from dropout_core.config.problem import PreprocessingConfig, Task
from dropout_core.config.training import Monitor, TrainingConfig

Preset = Literal["fast", "default", "best", "plain"]
Goal = Literal["accuracy", "log_loss", "roc_auc", "rmse", "mae"]
Values = dict[str, Any]
Given = Mapping[str, Any] | Config | None

PRESETS: tuple[Preset, ...] = get_args(Preset)
SUMMARIES: dict[Preset, str] = {
    "fast": "A third of the time of `default`, for a first look and for sweeps.",
    "default": "What a job gets that states nothing of its network: good on most tables.",
    "best": "Wider, more members, then trained again on all rows: slower, mostly better.",
    "plain": "The default of every field by itself: an MLP with dropout .5, as in the paper.",
}

GOALS_OF: dict[Task, tuple[Goal, ...]] = {
    "binary": ("accuracy", "log_loss", "roc_auc"),
    "multiclass": ("accuracy", "log_loss", "roc_auc"),
    "multilabel": ("accuracy", "log_loss"),
    "regression": ("rmse", "mae"),
}
"""What a model can be optimised for."""

MONITOR_OF: dict[Goal, Monitor] = {
    "accuracy": "accuracy",
    "log_loss": "validation_loss",
    "roc_auc": "roc_auc",
    "rmse": "validation_loss",
    "mae": "mae",
}
"""What early stopping watches for each goal."""

LABEL_SMOOTHING = 0.1
"""The label smoothing of classes for the goal `accuracy`. It harms AUC and log loss."""

MAX_EMBEDDED_COLUMNS = 200
"""Tables of more columns, such as images, have no embeddings of numbers: these would cost most of
the time."""

FULL_RATE_ROWS = 4_000
"""Tables of fewer training rows have a smaller learning rate."""

FEW_ROWS = 1_000
"""Tables of at most so many training rows train longest, and have periodic embeddings of numbers;
others have piecewise linear ones."""

SMALL_TABLE = 2_500
"""Tables of at most so many training rows train for more epochs, with narrow layers in `best`."""

_LENGTHS: tuple[tuple[float, int, int], ...] = (
    (FEW_ROWS, 192, 256),
    (SMALL_TABLE, 128, 256),
    (20_000, 64, 256),
    (100_000, 32, 512),
    (math.inf, 16, 1024),
)
"""Up to so many training rows: epochs, and rows of a batch."""

_TAGS = ("name", "kind")  # the fields that say which config of a union an object is


class Recipe(NamedTuple):
    """What a model is trained with: the arguments of `TabularRun`."""

    preprocessing: PreprocessingConfig
    model: MLPConfig
    training: TrainingConfig


class Sections(Config):
    """The sections of a job that say how its model is trained."""

    preprocessing: PreprocessingConfig
    model: MLPConfig
    training: TrainingConfig


def _values(
    name: Preset, *, task: Task, num_rows: int, num_columns: int, has_numbers: bool
) -> Values:
    """Return what a preset is made of, as a job writes it; fields left out have their default.

    The parts are those of RealMLP (Holzmueller et al. 2024, table A.1) and TabM (Gorishniy et al.
    2024) that paid on the tables which `benchmarks/tables` names for choosing: docs/presets.md.
    """
    if name == "plain":
        return {"preprocessing": {}, "model": {}, "training": {}}
    rate = _share_of_rate(num_rows)
    epochs, batch_size = next(length for limit, *length in _LENGTHS if num_rows <= limit)
    is_small = num_rows <= SMALL_TABLE
    embeds = has_numbers and num_columns <= MAX_EMBEDDED_COLUMNS
    default: Values = {
        "preprocessing": {
            "scale": "robust",
            "max_one_hot": 8,
            "embedding_dim": 8,
            "number_embedding": _number_embedding(num_rows) if embeds else None,
        },
        "model": {
            "hidden": [128, 128],
            "init": "lecun_normal",
            "hidden_dropout": 0.15,
            "members": 4,
        },
        "training": {
            "epochs": epochs,
            "batch_size": batch_size,
            "optimizer": {
                "name": "adamw",
                "lr": _rounded((0.2 if task == "regression" else 0.04) * rate),
                "betas": [0.9, 0.95],
                "weight_decay": _rounded(0.08 / rate),
            },
            "scheduler": {"name": "coslog4"},
            "dropout_schedule": {"name": "flat_cosine"},
            "weight_decay_schedule": {"name": "flat_cosine"},
            "layer_rates": "ntk",
            "early_stopping": {"patience": epochs // 2, "tolerance": 1.0},
            "calibrate": True,
        },
    }
    changes: dict[str, Values] = {
        "default": {},
        "fast": {
            "model": {"members": 1},
            "training": {"epochs": epochs // 2, "early_stopping": {"patience": epochs // 4}},
        },
        "best": {
            "model": {"hidden": [128, 128] if is_small else [192, 192], "members": 8},
            "training": {"early_stopping": {"refit": True}},
        },
    }
    return overlaid(default, changes[name])


def _share_of_rate(num_rows: int) -> float:
    """Return what few rows leave of the learning rate: between 1/4 and 1.

    Weight decay grows as the rate falls, so that a step shrinks the weights as much.
    """
    return min(max(num_rows / FULL_RATE_ROWS, 0.25), 1.0)


def _number_embedding(num_rows: int) -> Values:
    if num_rows <= FEW_ROWS:
        return {"kind": "periodic"}
    return {"kind": "piecewise_linear", "bins": 16, "dim": 8}


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


def settled(
    name: Preset,
    *,
    task: Task,
    num_rows: int,
    num_columns: int,
    optimise_for: Goal | None = None,
    has_numbers: bool = True,
    has_validation: bool = True,
    preprocessing: Given = None,
    model: Given = None,
    training: Given = None,
) -> Recipe:
    """Return the preset for a table of this size, overlaid by the values that are given.

    `num_rows` counts training rows and `num_columns` features; `has_numbers` says whether there are
    numbers or dates among them. What is given is in request form, or a config, of which only the
    fields count that were set. Without validation rows a preset has no early stopping and does not
    calibrate.

    Raises ValueError if there is no such preset or the task does not have the goal, and pydantic's
    ValidationError, whose locations begin with the section, if the values do not fit each other.
    """
    if name not in PRESETS:
        raise ValueError(f"there is no preset {name!r}: there are {', '.join(PRESETS)}")
    if optimise_for is not None:
        check_goal(optimise_for, task)
    standing = _values(
        name, task=task, num_rows=num_rows, num_columns=num_columns, has_numbers=has_numbers
    )
    own = {
        "preprocessing": given_by(preprocessing),
        "model": given_by(model),
        "training": given_by(training),
    }
    if not has_validation:
        standing["training"].pop("early_stopping", None)
        standing["training"].pop("calibrate", None)
    if optimise_for == "accuracy" and task in ("binary", "multiclass"):
        standing["training"]["label_smoothing"] = LABEL_SMOOTHING
    if optimise_for == "mae" and own["training"].get("quantiles") is None:
        standing["training"]["loss"] = "absolute"
    values = overlaid(standing, own)
    monitor: Monitor | None = None if name == "plain" else "validation_loss"
    if optimise_for is not None:
        monitor = MONITOR_OF[optimise_for]
    stopping = values["training"].get("early_stopping")
    if isinstance(stopping, dict) and stopping.get("monitor") is None:
        values["training"]["early_stopping"] = {**stopping, "monitor": monitor}
    sections = Sections.model_validate(values)
    return Recipe(sections.preprocessing, sections.model, sections.training)


def check_goal(optimise_for: Goal, task: Task) -> None:
    """Raise ValueError if the task cannot be optimised for this."""
    if optimise_for not in GOALS_OF[task]:
        raise ValueError(f"a {task} task can be optimised for {', '.join(GOALS_OF[task])}")


def overlaid(standing: Values, given: Values) -> Values:
    """Return the standing values, with those that are given in their place.

    An object is merged field by field, unless it is of another `name` or `kind`: then it is
    replaced, since its other fields would not mean the same.
    """
    result = {**standing}
    for field, value in given.items():
        known = standing.get(field)
        if isinstance(value, dict) and isinstance(known, dict) and _same_kind(known, value):
            value = overlaid(known, value)
        result[field] = value
    return result


def _same_kind(standing: Values, given: Values) -> bool:
    return all(
        given.get(tag, standing.get(tag)) == standing.get(tag, given.get(tag)) for tag in _TAGS
    )


def given_by(section: Given) -> Values:
    """Return what a section was given, field by field; an object within it likewise."""
    values = dict(section or {})
    if isinstance(section, Config):
        known = {*section.model_fields_set, *_TAGS}
        values = {name: value for name, value in section if name in known}
    if isinstance(section, MLPConfig) and "hidden_dropout" in values and "hidden" not in values:
        # It was repeated for the default layers of `MLPConfig`; the preset may have others.
        values["hidden_dropout"] = section.hidden_dropout[0]
    return {
        name: given_by(value) if isinstance(value, Config) else value
        for name, value in values.items()
    }
