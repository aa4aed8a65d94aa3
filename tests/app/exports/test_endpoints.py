import io
import json
import math
import re
import zipfile
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest
from markdown_it import MarkdownIt

from app.exports import service
from app.exports.card import card, records_of
from app.exports.markdown import sparkline
from app.http import slots
from dropout_core.model.saved_model import MANIFEST, WEIGHTS
from store import jobs
from store.database.engine import Database
from store.models import TrainedModel
from tests.support.in_process import TestClient, context_of
from tests.support.problems import assert_problem
from tests.support.service import Service
from tests.support.store_examples import claim, epoch, new_dataset, spec

Client = httpx.Client

ROWS = [[1.5, 0.2], [4.4, 1.4], [5.5, 2.1]]


def export(client: Client, model: dict[str, Any], **params: str) -> httpx.Response:
    return client.get(f"/v1/models/{model['id']}/export", params=params)


def left_over(service: Service) -> list[Any]:
    return list((service.data_dir / "uploads").iterdir())


def test_an_onnx_file_answers_as_the_service_does(
    live: Client, service: Service, flower_model: dict[str, Any]
) -> None:
    by_name = {"id": f"{flower_model['name']}@{flower_model['version']}"}
    response = export(live, by_name, format="onnx")
    assert response.status_code == 200, response.text
    name = f'attachment; filename="{flower_model["id"]}.onnx"'
    assert response.headers["content-disposition"] == name
    assert int(response.headers["content-length"]) == len(response.content)
    session = onnxruntime.InferenceSession(response.content)
    probabilities, labels = session.run(None, {"input": np.array(ROWS)})
    path = f"/v1/models/{flower_model['id']}/predict"
    answer = live.post(path, json={"instances": ROWS}).json()
    assert labels.tolist() == answer["predictions"]
    # A dozen units of float32 at most.
    np.testing.assert_allclose(probabilities, answer["probabilities"], rtol=0, atol=12 * 2.0**-24)
    assert left_over(service) == []


def test_the_models_own_files_are_what_comes_unasked(
    live: Client, flower_model: dict[str, Any]
) -> None:
    response = export(live, flower_model)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert {MANIFEST, WEIGHTS} < set(archive.namelist())
        assert flower_model["weights_sha256"].encode() in archive.read(MANIFEST)


def test_what_cannot_be_exported_is_named(live: Client, flower_model: dict[str, Any]) -> None:
    response = export(live, flower_model, format="pickle")
    assert "onnx" in assert_problem(response, 422, "invalid_request", "format")
    for path in ("export", "card"):
        response = live.get(f"/v1/models/mdl_0/{path}")
        assert "mdl_0" in assert_problem(response, 404, "model_not_found")


def database_of(client: TestClient) -> Database:
    database: Database = client.app.state.context.database
    return database


NASTY = '<script>alert("1")</script> & | `x` [y](javascript:z) *_~#\n# \u202eb https://a.example'


def nasty_model() -> TrainedModel:
    """What a person may have called everything that has a name."""
    features = [
        {"type": "numeric", "name": NASTY, "may_be_missing": False},
        {"type": "categorical", "name": "c" * 100, "stored_as": "text", "categories": [NASTY]},
        *({"type": "text", "name": f"t{n}", "num_buckets": 8} for n in range(60)),
    ]
    manifest = {
        "task": "multiclass",
        "targets": ["label"],
        "encoder": {"features": features},
        "classes": [NASTY, *range(99)],
        "model": {"hidden": [], "activation": "relu"},
        "preprocessing": {},
        "weights_sha256": "0" * 64,
        "trained_on": "cpu",
    }
    return TrainedModel(manifest, metrics={}, num_parameters=9, size_bytes=36, artifact="jobs/1")


@pytest.fixture
def nasty(sqlite_client: TestClient) -> dict[str, Any]:
    """A job that has succeeded, of epochs that are many."""
    with database_of(sqlite_client).write() as transaction:
        dataset = new_dataset(transaction)
        asked = spec(dataset.id, name=NASTY, metadata={"team": f"```\n{NASTY}"})
        job = jobs.create(transaction, asked, tenant="default", queue="cpu", warnings=[NASTY] * 30)
        assert claim(transaction, job.id) is not None
        mine = jobs.Claim(job.id, 1)
        for number in range(1, 101):
            jobs.record(transaction, mine, epoch(number))
        jobs.succeed(transaction, mine, reason="completed", trained=nasty_model())
    answer: dict[str, Any] = sqlite_client.get(f"/v1/jobs/{job.id}").json()
    return answer


def test_a_model_whose_files_are_gone_is_not_found(
    sqlite_client: TestClient, nasty: dict[str, Any]
) -> None:
    assert_problem(export(sqlite_client, {"id": nasty["model"]}), 404, "model_not_found")


def test_only_so_many_exports_are_made_at_once(
    sqlite_client: TestClient, nasty: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "SLOT_SECONDS", 0.01)
    assert sqlite_client.portal is not None
    for number in range(slots.MAX_EXPORTS):
        acquire = context_of(sqlite_client).export_slots.acquire
        sqlite_client.portal.call(acquire, f"tenant {number}")
    response = export(sqlite_client, {"id": nasty["model"]})
    assert_problem(response, 503, "busy")
    assert "retry-after" in response.headers


def test_a_model_too_large_for_a_format_is_refused(
    sqlite_client: TestClient, nasty: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_ONNX_BYTES", 0)
    response = export(sqlite_client, {"id": nasty["model"]}, format="onnx")
    assert "2 GiB" in assert_problem(response, 422, "invalid_request", "format")


# The model card


def card_of(client: Client, model: dict[str, Any]) -> str:
    response = client.get(f"/v1/models/{model['id']}/card")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/markdown; charset=utf-8"
    return response.text


def sections(markdown: str) -> dict[str, str]:
    _, *parts = re.split(r"^## (.*)$", markdown, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def cells(section: str) -> list[list[str]]:
    """The rows of its tables."""
    lines = (line for line in section.splitlines() if line.startswith("| "))
    return [line.strip("| ").split(" | ") for line in lines]


def test_a_card_says_what_there_is_to_know(
    live: Client,
    flower_model: dict[str, Any],
    flower_job: dict[str, Any],
    flowers: dict[str, Any],
) -> None:
    markdown = card_of(live, flower_model)
    assert markdown == card_of(live, flower_model)
    assert markdown.startswith(f"# Model card: flowers, version {flower_model['version']}\n")
    parts = sections(markdown)
    model = dict(cells(parts["Model"]))
    assert model["classes"] == "setosa, versicolor, virginica"
    assert model["SHA-256 of the weights"] == flower_model["weights_sha256"]
    assert model["hidden units"] == "16-16 (relu)"
    data = [row for row in cells(parts["Data"]) if len(row) == 2]
    assert dict(data)["rows"] == "90"
    assert dict(data)["SHA-256 of the upload"] == flowers["sha256"]
    assert ["petal\\_length", "numeric", "refused: none in the table"] in cells(parts["Data"])
    curves = cells(parts["Curves"])
    assert [row[0] for row in curves if row[0].isdigit()] == [str(n) for n in range(1, 13)]
    assert re.fullmatch("`[▁▂▃▄▅▆▇█]{12}`", dict(row[:2] for row in curves)["training loss"])
    metrics = {row[0]: row[1:] for row in cells(parts["Metrics"])}
    accuracy = flower_model["metrics"]["test"]["metrics"]["accuracy"]
    assert metrics["metric"] == ["validation (9 rows)", "test (9 rows)"]
    assert metrics["accuracy"][1] == f"{accuracy:.6g}"
    assert "trained on 72 rows" in parts["Intended use and limits"]
    assert f'"id": "{flowers["id"]}"' in parts["How to make it again"]


def test_a_card_has_the_folds_and_the_holes(live: Client, people_model: dict[str, Any]) -> None:
    parts = sections(card_of(live, people_model))
    header, _, *rows = cells(parts["Metrics"])
    assert header[-1] == "mean ± standard deviation of 2 folds"
    mean = people_model["cross_validation"]["mean"]["accuracy"]
    assert next(row for row in rows if row[0] == "accuracy")[-1].startswith(f"{mean:.6g} ± ")
    assert ["age", "numeric", "imputed and marked"] in cells(parts["Data"])
    assert ["city", "categorical", "an unknown category; 3 categories are known"] in cells(
        parts["Data"]
    )
    assert "Warnings about the data" in parts["Intended use and limits"]


def test_nothing_that_a_card_quotes_acts_in_a_page(
    sqlite_client: TestClient, nasty: dict[str, Any]
) -> None:
    markdown = card_of(sqlite_client, {"id": nasty["model"]})
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    tags = set(re.findall(r"<(\w+)", page))
    tables = {"table", "thead", "tbody", "tr", "th", "td"}
    assert tags == {"h1", "h2", "p", "ul", "li", "code", "pre", *tables}
    assert "<script" not in markdown
    assert "\u202e" not in markdown
    shown = "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; | `x` [y](javascript"
    assert page.count(shown) >= 4
    assert page.count("<h1>") == 1
    assert page.count("<h2>") == 6
    block = re.findall(r"```json\n(.*?)\n```", markdown, flags=re.DOTALL)
    assert json.loads(block[0]) == nasty["resolved_config"]


def test_a_card_is_short_whatever_the_model(
    sqlite_client: TestClient, nasty: dict[str, Any]
) -> None:
    parts = sections(card_of(sqlite_client, {"id": nasty["model"]}))
    epochs = [int(row[0]) for row in cells(parts["Curves"]) if row[0].isdigit()]
    assert (len(epochs), epochs[0], epochs[-1]) == (20, 1, 100)
    assert re.search("`[▁▂▃▄▅▆▇█]{40}`", parts["Curves"])
    assert "and 50 more" in dict(cells(parts["Model"]))["classes"]
    assert "And 12 more features." in parts["Data"]
    assert "- and 10 more" in parts["Intended use and limits"]
    assert "No rows were held out" in parts["Metrics"]


def test_a_card_tells_members_and_rows_that_a_refit_used(
    sqlite_client: TestClient, nasty: dict[str, Any]
) -> None:
    with database_of(sqlite_client).read() as transaction:
        records = records_of(transaction, nasty["model"], tenant="default")
    assert records.job is not None
    assert ["members", "1"] in cells(sections(card(records))["Model"])
    manifest = {**records.model.manifest, "model": {"hidden": [8], "activation": "relu"}}
    manifest["model"] |= {"members": 4}
    metrics = {split: {"num_rows": 2, "metrics": {}} for split in ("validation", "test")}
    model = replace(records.model, manifest=manifest, metrics=metrics)
    training = {"early_stopping": {"monitor": "loss", "refit": True}}
    job = replace(records.job, spec={**records.job.spec, "training": training})
    refitted = replace(records, model=model, job=job)
    parts = sections(card(refitted))
    assert ["members", "4, which share a backbone"] in cells(parts["Model"])
    assert (
        "Rows held out: 2 for test. The rows for validation were trained on"
        in parts["Intended use and limits"]
    )
    stopped = replace(refitted, job=replace(job, warnings=["the model is not refitted: why"]))
    assert "2 for validation, 2 for test" in sections(card(stopped))["Intended use and limits"]


def test_a_card_outlives_its_job_and_its_dataset(
    sqlite_client: TestClient, nasty: dict[str, Any]
) -> None:
    assert sqlite_client.delete(f"/v1/datasets/{nasty['dataset']}").status_code == 204
    parts = sections(card_of(sqlite_client, {"id": nasty["model"]}))
    assert "The dataset of its training is deleted" in parts["Data"]
    assert sqlite_client.delete(f"/v1/jobs/{nasty['id']}").status_code == 204
    parts = sections(card_of(sqlite_client, {"id": nasty["model"]}))
    assert "There are no records of epochs." in parts["Curves"]
    assert "The job that trained it is deleted" in parts["How to make it again"]
    assert '"activation": "relu"' in parts["How to make it again"]


def test_a_sparkline_goes_from_the_lowest_to_the_highest() -> None:
    assert sparkline([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]) == "▁▂▃▄▅▆▇█"
    assert sparkline([-1e308, None, math.inf, 1e308]) == "▁  █"
    assert sparkline([2.0, 2.0]) == "▅▅"
    assert sparkline([None]) == sparkline([]) == ""
    assert len(sparkline([float(n) for n in range(1000)])) == 40
