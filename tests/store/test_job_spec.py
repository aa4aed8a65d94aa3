import json
from typing import Any

import pytest
from pydantic import ValidationError

from dropout_core.config import MLPConfig, ProblemConfig, SplitConfig, TrainingConfig
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


STORED = {
    "least": (
        '{"name":null,"dataset":{"id":"ds_1","target":"label","features":null,"types":{},'
        '"weight":null,"split":{"kind":"auto","column":null,"validation":0.1,"test":0.1,'
        '"folds":null,"seed":0}},"task":"auto","preprocessing":{"scale":"standard",'
        '"impute":"median","max_one_hot":16,"max_categories":10000,"embedding_dim":null,'
        '"embedding_dropout":0.0,"unknown_rate":0.01,"text_buckets":128},"model":{"hidden":[256,'
        '256],"activation":"relu","maxout_pieces":2,"input_dropout":{"kind":"bernoulli","p":0.0,'
        '"scaling":"inverted"},"hidden_dropout":[{"kind":"bernoulli","p":0.5,"scaling":"inverted"},'
        '{"kind":"bernoulli","p":0.5,"scaling":"inverted"}],"batch_norm":false,"max_norm":null,'
        '"init":"xavier_uniform"},"training":{"epochs":50,"batch_size":32,'
        '"optimizer":{"name":"adam","lr":0.001,"betas":[0.9,0.999],"eps":1e-8,"weight_decay":0.0},'
        '"scheduler":null,"early_stopping":null,"class_weights":null,"label_smoothing":0.0,'
        '"max_grad_norm":null,"ema_decay":null,"precision":"float32","max_runtime_seconds":null,'
        '"seed":0,"device":"auto"},"metadata":{}}'
    ),
    "full": (
        '{"name":"fashion","dataset":{"id":"ds_1","target":"label","features":["a","b"],"types":{},'
        '"weight":null,"split":{"kind":"auto","column":null,"validation":0.2,"test":0.0,'
        '"folds":null,"seed":5}},"task":"multiclass","preprocessing":{"scale":"standard",'
        '"impute":"median","max_one_hot":16,"max_categories":10000,"embedding_dim":null,'
        '"embedding_dropout":0.0,"unknown_rate":0.01,"text_buckets":128},"model":{"hidden":[8,4],'
        '"activation":"relu","maxout_pieces":2,"input_dropout":{"kind":"bernoulli","p":0.0,'
        '"scaling":"inverted"},"hidden_dropout":[{"kind":"bernoulli","p":0.2,"scaling":"inverted"},'
        '{"kind":"bernoulli","keep":0.5,"scaling":"inverted"}],"batch_norm":false,"max_norm":null,'
        '"init":"xavier_uniform"},"training":{"epochs":3,"batch_size":32,"optimizer":{"name":"sgd",'
        '"lr":0.5,"momentum":0.0,"nesterov":false,"weight_decay":0.0},"scheduler":null,'
        '"early_stopping":null,"class_weights":null,"label_smoothing":0.0,"max_grad_norm":null,'
        '"ema_decay":null,"precision":"float32","max_runtime_seconds":null,"seed":0,'
        '"device":"auto"},"metadata":{"team":"vision"}}'
    ),
    "everything": (
        '{"name":null,"dataset":{"id":"ds_1","target":["a","b"],"features":null,'
        '"types":{"zip":"categorical"},"weight":"w","split":{"kind":"grouped","column":"who",'
        '"validation":0.1,"test":0.1,"folds":3,"seed":0}},"task":"auto",'
        '"preprocessing":{"scale":"quantile","impute":"median","max_one_hot":16,'
        '"max_categories":10000,"embedding_dim":4,"embedding_dropout":0.0,"unknown_rate":0.01,'
        '"text_buckets":128},"model":{"hidden":[256,256],"activation":"relu","maxout_pieces":2,'
        '"input_dropout":{"kind":"bernoulli","p":0.0,"scaling":"inverted"},'
        '"hidden_dropout":[{"kind":"bernoulli","p":0.5,"scaling":"inverted"},{"kind":"bernoulli",'
        '"p":0.5,"scaling":"inverted"}],"batch_norm":false,"max_norm":null,'
        '"init":"xavier_uniform"},"training":{"epochs":50,"batch_size":32,'
        '"optimizer":{"name":"adam","lr":0.001,"betas":[0.9,0.999],"eps":1e-8,"weight_decay":0.0},'
        '"scheduler":null,"early_stopping":null,"class_weights":null,"label_smoothing":0.0,'
        '"max_grad_norm":null,"ema_decay":null,"precision":"float32","max_runtime_seconds":null,'
        '"seed":0,"device":"auto"},"metadata":{}}'
    ),
}
"""Specs as the first releases wrote them."""


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
    ("wish", "stored"),
    list(zip([LEAST, FULL, EVERYTHING], STORED.values(), strict=True)),
    ids=list(STORED),
)
def test_a_spec_is_written_byte_for_byte_as_it_always_was(
    wish: dict[str, Any], stored: str
) -> None:
    assert JobSpec.model_validate(wish).model_dump_json() == stored
    assert JobSpec.model_validate_json(stored).model_dump_json() == stored


def test_the_problem_is_the_dataset_without_its_id_and_the_task() -> None:
    full = JobSpec.model_validate(FULL)
    assert full.problem == ProblemConfig(
        target="label",
        features=("a", "b"),
        split=SplitConfig(validation=0.2, test=0.0, seed=5),
        task="multiclass",
    )
    everything = JobSpec.model_validate(EVERYTHING)
    assert everything.problem == ProblemConfig(
        target=("a", "b"),
        types={"zip": "categorical"},
        weight="w",
        split=SplitConfig(kind="grouped", column="who", folds=3),
        task=None,
    )


def test_a_dataset_has_no_task_of_its_own() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        JobSpec.model_validate({"dataset": {**LEAST["dataset"], "task": "binary"}})


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


def test_a_stored_job_without_a_preset_is_plain() -> None:
    stored = json.loads(STORED["least"])
    assert JobSpec.of_stored(stored).preset == "plain"
    assert JobSpec.of_stored({**stored, "preset": "best"}).preset == "best"


@pytest.mark.parametrize(("preset", "written"), [("plain", None), ("fast", "fast")])
def test_only_a_preset_that_says_more_is_written(preset: str, written: str | None) -> None:
    spec = JobSpec.model_validate(LEAST | {"preset": preset})
    assert spec.model_dump(mode="json").get("preset") == written
    assert spec.every_value()["preset"] == preset


def test_what_a_job_asks_for_tells_what_is_given_from_what_is_left_out() -> None:
    def asked(**job: Any) -> bytes:
        return JobSpec.model_validate(LEAST | job).as_asked

    plain = {"model": {"hidden": [256, 256]}}
    assert asked(**plain) == STORED["least"].encode(), "as the first releases compared requests"
    assert asked() != asked(**plain)
    assert asked() == asked()
    number = {"preprocessing": {"number_embedding": None}}
    assert asked(preset="fast") != asked(preset="fast", **number)


def test_a_list_of_dropouts_is_for_layers_that_are_given() -> None:
    model = {"hidden_dropout": [0.1, 0.2]}
    assert JobSpec.model_validate(LEAST | {"model": model}).model.hidden == (256, 256)
    with pytest.raises(ValidationError, match="needs `hidden`"):
        JobSpec.model_validate(LEAST | {"preset": "default", "model": model})
    whole = {"model": {**model, "hidden": [8, 8]}, "preset": "default"}
    assert JobSpec.model_validate(LEAST | whole).model.hidden == (8, 8)
