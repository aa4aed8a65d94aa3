"""Hooks of schemathesis: beside what fits the document, requests that fit the data as well.

What is made from a schema alone is hardly ever a table, nor a job on columns that there are, so
that nothing would be created, and no chain of calls would start from a creation. The variables
FUZZ_IDS and FUZZ_SPENT_IDS have the ids of what there is, and of what may be gone afterwards.
"""

import json
import os
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, HookContext
from schemathesis.generation.hypothesis.examples import generate_one
from schemathesis.generation.meta import TestPhase

from tests.support import tables

IDS: dict[str, str] = json.loads(os.environ["FUZZ_IDS"])
SPENT: dict[str, dict[str, str]] = json.loads(os.environ["FUZZ_SPENT_IDS"])
FILE = tables.flowers().decode()  # bytes are no string, which the document says a file is
INPUT = {"name": "input", "datatype": "FP64", "shape": [1, 2], "data": [5.1, 3.5]}
JOB = {"model": {"hidden": [4]}, "training": {"epochs": 1}}
SEARCH = {"space": {"/training/seed": {"choice": [1, 2]}}, "max_parallel": 1}


def body_of(label: str, generated: Any) -> Any:
    """A body that the operation takes, on the dataset that the generated one names."""
    generated = generated if isinstance(generated, dict) else {}
    job = generated.get("job")
    dataset = (job if isinstance(job, dict) else generated).get("dataset")
    dataset_id = dataset.get("id") if isinstance(dataset, dict) else dataset
    if not isinstance(dataset_id, str):
        dataset_id = IDS["dataset"]
    fitting = {"dataset": {"id": dataset_id, "target": "label"}, **JOB}
    bodies = {
        "POST /v1/datasets": {"file": [FILE]},
        "POST /v1/jobs": fitting,
        "POST /v1/jobs/{job_id}/cancel": {},
        "POST /v1/sweeps": {"job": {"dataset": {"id": dataset_id, "target": "label"}, **JOB}}
        | SEARCH,
        "POST /v1/sweeps/{sweep_id}/cancel": {},
        "PUT /v1/names/{name}/aliases/{alias}": {"version": 1},
        "POST /v1/models/{model_id}/predict": {"instances": [[5.1, 3.5]]},
        "POST /v1/models/{model_id}/predict-file": {"file": FILE},
        "POST /v1/models/{model_id}/evaluate": {"dataset": dataset_id},
        "POST /v1/models/{model_id}/importance": {"dataset": dataset_id, "num_repeats": 1},
        "POST /v2/models/{model}/infer": {"inputs": [INPUT]},
        "POST /v2/models/{model}/versions/{version}/infer": {"inputs": [INPUT]},
        "POST /v2/repository/index": {},
        "POST /v2/repository/models/{model}/load": {},
        "POST /v2/repository/models/{model}/unload": {},
    }
    return bodies.get(label)


@schemathesis.hook
def flatmap_case(context: HookContext, case: Case) -> st.SearchStrategy[Case]:
    """Of the bodies that fit the document, most fit the data."""
    assert context.operation is not None
    fitting = body_of(context.operation.label, case.body)
    if fitting is None or case.meta is None or case.meta.generation.mode.is_negative:
        return st.just(case)

    def choose(number: int) -> Case:
        if number:
            case.body = fitting
        return case

    return st.integers(0, 3).map(choose)


@schemathesis.hook
def before_add_examples(context: HookContext, examples: list[Case]) -> None:
    """Every operation is called once as it is meant to be."""
    operation = context.operation
    assert operation is not None
    of_operation = {"preset": "default"} | IDS | SPENT.get(operation.label, {})
    ids = {
        parameter.name: of_operation[parameter.name.removesuffix("_id")]
        for parameter in operation.path_parameters
    }
    parts: dict[str, Any] = {"path_parameters": ids, "headers": {}, "query": {}}
    if operation.body:
        parts["body"] = body_of(operation.label, None)
        parts["media_type"] = operation.body[0].media_type
    examples.append(generate_one(operation.as_strategy(phase=TestPhase.EXAMPLES, **parts)))
