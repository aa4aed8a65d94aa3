import json
from typing import Any

import pytest
from pydantic import ValidationError

from dropout_core.config import MLPConfig, SplitConfig, TrainingConfig
from store.job_spec import JobSpec

LEAST: dict[str, Any] = {"dataset": {"id": "ds_1", "target": "label"}}
FULL: dict[str, Any] = {
    "name": "fashion",
    "dataset": {
        "id": "ds_1",
        "target": "label",
        "features": ["a", "b"],
        "split": {"validation": 0.2, "test": 0.0, "seed": 5},
    },
    "task": "multiclass",
    "model": {"hidden": [8, 4], "hidden_dropout": [{"p": 0.2}, {"keep": 0.5}]},
    "training": {"epochs": 3, "optimizer": {"name": "sgd", "lr": 0.5}},
    "metadata": {"team": "vision"},
}
EVERYTHING: dict[str, Any] = {
    "dataset": {
        "id": "ds_1",
        "target": ["a", "b"],
        "types": {"zip": "categorical"},
        "weight": "w",
        "split": {"kind": "grouped", "column": "who", "folds": 3},
    },
    "preprocessing": {"scale": "quantile", "embedding_dim": 4},
}


def test_every_field_but_the_dataset_has_a_default() -> None:
    spec = JobSpec.model_validate(LEAST)
    assert (spec.name, spec.task, spec.metadata) == (None, "auto", {})
    assert (spec.dataset.features, spec.dataset.split) == (None, SplitConfig())
    assert (spec.model, spec.training) == (MLPConfig(), TrainingConfig())


@pytest.mark.parametrize("wish", [LEAST, FULL, EVERYTHING])
def test_a_stored_spec_reads_back_as_it_was(wish: dict[str, Any]) -> None:
    spec = JobSpec.model_validate(wish)
    stored = json.loads(json.dumps(spec.model_dump(mode="json")))
    assert JobSpec.model_validate(stored) == spec


@pytest.mark.parametrize(
    ("pointer", "change"),
    [
        (("dataset",), {"dataset": None}),
        (("dataset", "target"), {"dataset": {"id": "ds_1"}}),
        (("dataset", "target"), {"dataset": {"id": "ds_1", "target": ""}}),
        (("dataset", "target", "several"), {"dataset": {"id": "ds_1", "target": []}}),
        (("dataset", "features"), {"dataset": {**LEAST["dataset"], "features": []}}),
        (("dataset", "types", "a"), {"dataset": {**LEAST["dataset"], "types": {"a": "date"}}}),
        (("dataset", "weight"), {"dataset": {**LEAST["dataset"], "weight": 1}}),
        (("dataset", "split"), {"dataset": {**LEAST["dataset"], "split": {"kind": "time"}}}),
        (("preprocessing", "scale"), {"preprocessing": {"scale": "log"}}),
        (("dataset", "split"), {"dataset": {**LEAST["dataset"], "split": {"test": 0.95}}}),
        (("name",), {"name": ""}),
        (("name",), {"name": "n" * 201}),
        (("name",), {"name": "nul\0"}),
        (("task",), {"task": "clustering"}),
        (("training", "epochs"), {"training": {"epochs": 0}}),
        (("metadata",), {"metadata": {str(n): "" for n in range(17)}}),
        (("metadata", "team"), {"metadata": {"team": 1}}),
        (("metadata", "team"), {"metadata": {"team": "n" * 513}}),
        (("epochs",), {"epochs": 3}),
        (("dataset", "featurs"), {"dataset": {**LEAST["dataset"], "featurs": ["a"]}}),
    ],
)
def test_a_bad_value_is_refused_where_it_stands(
    pointer: tuple[str, ...], change: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError) as caught:
        JobSpec.model_validate(LEAST | change)
    assert caught.value.errors()[0]["loc"][: len(pointer)] == pointer
