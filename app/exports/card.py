"""The model card: a model's config, data, metrics and limits.

Mitchell et al. 2019, Model Cards for Model Reporting, as far as the service has the records.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from app.exports.markdown import code, number, sparkline, spread, table, text, texts
from store import datasets, jobs, models
from store.datasets import Dataset
from store.errors import DatasetNotFound, JobNotFound
from store.jobs import Job
from store.models import Model

_MAX_EPOCHS = 20
_MAX_LISTED = 50
_MAX_WARNINGS = 20
_MAX_CONFIG_BYTES = 64 * 1024
_CURVES = {
    "train_loss": "training loss",
    "validation_loss": "validation loss",
    "validation_score": "validation score",
}


@dataclass(frozen=True)
class ModelRecords:
    """The records of a model, its job and its dataset; None for a deleted one."""

    model: Model
    job: Job | None
    dataset: Dataset | None
    epochs: list[dict[str, Any]]

    @property
    def features(self) -> list[dict[str, Any]]:
        features: list[dict[str, Any]] = self.model.manifest["encoder"]["features"]
        return features

    @property
    def incomplete(self) -> list[str]:
        """Features that missed a value in held-out rows alone."""
        incomplete: list[str] = self.model.manifest["encoder"].get("incomplete", [])
        return incomplete

    @property
    def held_out(self) -> dict[str, int]:
        """The number of rows of each split that training did not use."""
        return {
            split: scores["num_rows"]
            for split, scores in self.model.metrics.items()
            if split != "cross_validation" and not (split == "validation" and self.is_refitted)
        }

    @property
    def is_refitted(self) -> bool:
        """Whether its weights are of a refit, which trained on the validation rows too."""
        job = self.job
        if job is None or job.state_reason not in ("completed", "early_stopped"):
            return False
        stopping = job.resolved_config["training"]["early_stopping"]
        diverged = any(told.startswith("the model is not refitted") for told in job.warnings)
        return stopping is not None and stopping["refit"] and not diverged


def records_of(transaction: Connection, reference: str, *, tenant: str) -> ModelRecords:
    """Read the records of a model. Raises ModelNotFound, also for another tenant's."""
    model = models.resolve(transaction, reference, tenant=tenant)
    try:
        job = jobs.get(transaction, model.job_id, tenant=tenant)
    except JobNotFound:
        return ModelRecords(model, None, None, [])
    epochs = jobs.metrics(transaction, job.id, after_epoch=0)
    try:
        dataset = datasets.get(transaction, job.dataset_id, tenant=tenant)
    except DatasetNotFound:
        dataset = None
    return ModelRecords(model, job, dataset, epochs)


def card(records: ModelRecords) -> str:
    """Return the card in Markdown; equal records give equal text."""
    sections = {
        "Model": _model(records),
        "Data": _data(records),
        "Curves": _curves(records.epochs),
        "Metrics": _metrics(records.model.metrics),
        "Intended use and limits": _limits(records),
        "How to make it again": _recipe(records),
    }
    model = records.model
    version = "" if model.version is None else f", version {model.version}"
    title = f"# Model card: {text(model.id if model.name is None else model.name)}{version}"
    parts = [f"## {name}\n\n" + "\n\n".join(section) for name, section in sections.items()]
    return "\n\n".join([title, *parts]) + "\n"


def _model(records: ModelRecords) -> Iterator[str]:
    model, manifest = records.model, records.model.manifest
    config = manifest["model"]
    widths = "-".join(map(str, config["hidden"])) or "none: a linear model"
    rows = [
        ("id", text(model.id)),
        ("task", manifest["task"]),
        ("target", _target(manifest)),
        ("features", str(len(records.features))),
        ("hidden units", f"{widths} ({config['activation']})"),
        ("members", _members(config)),
        ("parameters", str(model.num_parameters)),
        ("trained by", text(model.job_id)),
        ("on", text(manifest["trained_on"])),
        ("made", _time(model.created_at)),
        ("SHA-256 of the weights", manifest["weights_sha256"]),
    ]
    if manifest["classes"] is not None:
        rows.insert(3, ("classes", texts(manifest["classes"], limit=_MAX_LISTED)))
    yield table(("what", "value"), rows)


def _members(config: Mapping[str, Any]) -> str:
    members = config.get("members", 1)
    if members == 1:
        return "1"
    shared = "share nothing" if config.get("member_sharing") == "nothing" else "share a backbone"
    return f"{members}, which {shared}"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _data(records: ModelRecords) -> Iterator[str]:
    dataset = records.dataset
    if dataset is None:
        yield "The dataset of its training is deleted."
    else:
        rows = [
            ("dataset", f"{text(dataset.name)} ({text(dataset.id)})"),
            ("rows", str(dataset.num_rows)),
            ("columns", str(len(dataset.columns))),
            ("SHA-256 of the upload", dataset.sha256),
        ]
        yield table(("what", "value"), rows)
    listed = records.features[:_MAX_LISTED]
    yield table(
        ("feature", "type", "missing values"),
        ((text(f["name"]), f["type"], _missing(f, records.incomplete)) for f in listed),
    )
    if len(records.features) > len(listed):
        yield f"And {len(records.features) - len(listed)} more features."


def _missing(feature: dict[str, Any], incomplete: Collection[str]) -> str:
    match feature["type"]:
        case "categorical":
            return f"an unknown category; {len(feature['categories'])} categories are known"
        case "text":
            return "text without words"
    if feature["name"] in incomplete:
        return "imputed: none in training"
    return "imputed and marked" if feature["may_be_missing"] else "refused: none in the table"


def _curves(epochs: list[dict[str, Any]]) -> Iterator[str]:
    if not epochs:
        yield "There are no records of epochs."
        return
    curves = {column: [epoch[column] for epoch in epochs] for column in _CURVES}
    known = [column for column in _CURVES if any(value is not None for value in curves[column])]
    lines = ((_CURVES[column], f"`{sparkline(curves[column])}`") for column in known)
    yield table(("curve", f"epochs 1 to {epochs[-1]['epoch']}"), lines)
    chosen = (epochs[index] for index in spread(len(epochs), _MAX_EPOCHS))
    yield table(
        ("epoch", *(_CURVES[column] for column in known)),
        ((str(row["epoch"]), *(number(row[column]) for column in known)) for row in chosen),
    )


def _metrics(metrics: dict[str, Any]) -> Iterator[str]:
    """Yield a table with a column for each split, and one for the cross-validation."""
    splits = {split: scores for split, scores in metrics.items() if split != "cross_validation"}
    columns = {
        f"{split} ({scores['num_rows']} rows)": {
            name: number(value) for name, value in scores["metrics"].items()
        }
        for split, scores in splits.items()
    }
    if "cross_validation" in metrics:
        folds = metrics["cross_validation"]
        title = f"mean ± standard deviation of {len(folds['folds'])} folds"
        columns[title] = {
            name: f"{number(mean)} ± {number(folds['standard_deviation'][name])}"
            for name, mean in folds["mean"].items()
            if mean is not None
        }
    if not columns:
        yield "No rows were held out, so its performance on new rows is unknown."
        return
    names = dict.fromkeys(name for scores in columns.values() for name in scores)
    yield table(
        ("metric", *columns),
        ((name, *(scores.get(name, "") for scores in columns.values())) for name in names),
    )


def _limits(records: ModelRecords) -> Iterator[str]:
    yield _list([*_known(records), *_NOT_KNOWN])
    warnings = [] if records.job is None else records.job.warnings
    if warnings:
        lines = [text(warning, max_characters=500) for warning in warnings[:_MAX_WARNINGS]]
        if len(warnings) > len(lines):
            lines.append(f"and {len(warnings) - len(lines)} more")
        yield "Warnings about the data:\n\n" + _list(lines)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _known(records: ModelRecords) -> Iterator[str]:
    manifest = records.model.manifest
    trained_on = _num_trained_on(records)
    if trained_on is not None:
        yield f"It was trained on {trained_on} rows; expect less of it on rows unlike these."
    held_out = ", ".join(f"{rows} for {split}" for split, rows in records.held_out.items())
    if records.is_refitted:
        yield (
            f"Rows held out: {held_out or 'none'}. The rows for validation were trained on in the "
            "end; the metrics on them are those of the model before."
        )
    else:
        yield f"Rows held out: {held_out or 'none'}. The metrics above are measured on these only."
    complete = [f["name"] for f in records.features if f.get("may_be_missing") is False]
    refusing = [name for name in complete if name not in records.incomplete]
    if refusing:
        shown = texts(refusing, limit=_MAX_LISTED)
        yield f"A row is refused by default if one of these is missing: {shown}."
    if manifest["classes"] is not None:
        yield "It predicts only these classes, also for a row of another class."


def _target(manifest: Mapping[str, Any]) -> str:
    targets = texts(manifest["targets"], limit=_MAX_LISTED)
    listed = manifest.get("label_column")
    return targets if listed is None else f"labels that {text(listed['name'])} lists: {targets}"


def _num_trained_on(records: ModelRecords) -> int | None:
    """Return the number of rows that it was trained on, or None if the records do not have it."""
    if records.dataset is None:
        return None
    manifest = records.model.manifest
    listed = manifest.get("label_column")
    targets = set(manifest["targets"]) if listed is None else {listed["name"]}
    missing: list[Any] = [
        c.get("num_missing") for c in records.dataset.columns if c["name"] in targets
    ]
    if None in missing or (len(missing) > 1 and any(missing)):  # maybe in the same rows
        return None
    num_rows: int = records.dataset.num_rows - sum(missing) - sum(records.held_out.values())
    return num_rows


_NOT_KNOWN = (
    "Its performance on data of another source or time was not measured.",
    "Its performance for different groups of people was not measured: measure it before the model "
    "decides anything about people.",
)


def _recipe(records: ModelRecords) -> Iterator[str]:
    manifest = records.model.manifest
    if records.job is None:
        yield "The job that trained it is deleted. Its network and preprocessing were:"
        yield code({name: manifest[name] for name in ("model", "preprocessing")})
        return
    yield (
        "Submit this to `POST /v1/jobs`. On the machine named above, with a dataset of the same "
        "SHA-256 that was read with the same options, the weights have the SHA-256 above."
    )
    config = records.job.resolved_config
    if len(json.dumps(config)) > _MAX_CONFIG_BYTES:
        yield f"It is long: `GET /v1/jobs/{records.job.id}` has it as `resolved_config`."
    else:
        yield code(config)
