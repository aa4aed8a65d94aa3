"""Resolve a submitted job: fill in every setting, and refuse a job that cannot run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from sqlalchemy import Connection

from app.http.errors import escaped, invalid
from app.serving.dataset_rows import scan
from dropout_core.config import FeatureType, PreprocessingConfig, ProblemConfig, TrainingConfig
from dropout_core.data.columns import Column
from dropout_core.data.declared_types import unreadable_cells
from dropout_core.data.labels import listed_labels, of_labels
from dropout_core.data.selection import Selection, select
from dropout_core.data.splits import check_split, rare_classes
from dropout_core.errors import DataError
from dropout_core.training import memory
from dropout_core.training.feasibility import InfeasibleError, check_feasible, check_preprocessing
from dropout_core.training.memory import InputSizes
from store import datasets
from store.artifacts.artifact_store import ArtifactStore
from store.datasets import Dataset
from store.errors import DatasetNotFound
from store.job_spec import JobSpec
from store.settings import Settings


@dataclass(frozen=True)
class ResolvedJob:
    spec: JobSpec
    warnings: tuple[str, ...]
    queue: str
    num_parameters: int
    estimated_bytes: int


@dataclass(frozen=True)
class _Plan:
    """The data of a job, as its dataset's columns describe them."""

    selection: Selection
    num_train: int
    num_outputs: int
    inputs: InputSizes
    warnings: tuple[str, ...]

    @property
    def has_classes(self) -> bool:
        return self.selection.task in ("binary", "multiclass")


def resolve(
    transaction: Connection,
    spec: JobSpec,
    settings: Settings,
    *,
    artifacts: ArtifactStore,
    tenant: str,
) -> ResolvedJob:
    """Resolve features, their types, task and queue by the dataset, locked by the transaction.

    Raises RequestError (422) naming the field that makes the job impossible.
    """
    try:
        dataset = datasets.get(transaction, spec.dataset.id, tenant=tenant, lock=True)
    except DatasetNotFound as error:
        raise invalid("/dataset/id", str(error)) from error
    try:
        plan = _plan(dataset, spec, artifacts)
    except DataError as error:
        raise invalid(_pointer(error), str(error)) from error
    selection = plan.selection
    _check_training(spec, plan)
    num_parameters, estimated_bytes = _sizes(dataset, spec, plan, settings)
    chosen = spec.dataset.model_copy(
        update={
            "features": tuple(selection.features),
            "types": {**spec.dataset.types, **selection.features},
            "split": spec.dataset.split.settled(has_classes=plan.has_classes),
        }
    )
    return ResolvedJob(
        spec=spec.model_copy(
            update={
                "dataset": chosen,
                "task": selection.task,
                "training": _with_monitor(_within_limits(spec.training, settings)),
            }
        ),
        warnings=plan.warnings,
        queue=_queue(spec, settings),
        num_parameters=num_parameters,
        estimated_bytes=estimated_bytes,
    )


def _sizes(dataset: Dataset, spec: JobSpec, plan: _Plan, settings: Settings) -> tuple[int, int]:
    """Return the number of parameters and the bytes that training takes, about.

    Raises RequestError (422) if one of them is more than the settings allow.
    """
    sizes = {
        "in_features": plan.inputs.in_features(spec.preprocessing),
        "out_features": plan.num_outputs,
        "num_embedded": plan.inputs.num_embedded(spec.preprocessing),
    }
    num_parameters = memory.num_parameters(spec.model, **sizes)
    if num_parameters > settings.max_parameters:
        raise invalid(
            "/model/hidden",
            f"{num_parameters} parameters, {settings.max_parameters} are allowed: use fewer or "
            "narrower layers",
        )
    estimated = memory.training_bytes(
        spec.model,
        spec.training,
        num_rows=dataset.num_rows,
        num_columns=plan.inputs.num_values + len(plan.inputs.cardinalities),
        num_entries=plan.inputs.num_entries(spec.preprocessing),
        cross_validates=spec.dataset.split.folds is not None,
        **sizes,
    )
    if estimated > settings.max_training_bytes:
        raise invalid(
            "/model/hidden",
            f"training would take about {estimated} bytes, {settings.max_training_bytes} are "
            "allowed: use fewer or narrower layers, fewer features, or a smaller batch",
        )
    return num_parameters, estimated


def _plan(dataset: Dataset, spec: JobSpec, artifacts: ArtifactStore) -> _Plan:
    """Return the job's plan. Raises DataError if the columns make the job impossible."""
    columns, problem = _with_labels(dataset, spec.problem, artifacts)
    selection = select(columns, **problem.of_columns, num_rows=dataset.num_rows)
    targets = [column for column in columns if column.name in selection.targets]
    num_labelled = dataset.num_rows - max(target.num_missing for target in targets)
    return _Plan(
        selection,
        num_train=check_split(num_labelled, spec.dataset.split, columns, selection=selection),
        num_outputs=(
            targets[0].num_distinct
            if selection.task in ("binary", "multiclass")
            else len(selection.targets)
        ),
        inputs=memory.input_sizes(columns, selection, spec.preprocessing),
        warnings=(
            *selection.warnings,
            *_rare_categories(columns, selection, spec.preprocessing),
            *_unreadable(dataset, columns, {**spec.dataset.types, **selection.features}, artifacts),
            *rare_classes(columns, selection, spec.dataset.split),
        ),
    )


def _with_labels(
    dataset: Dataset, problem: ProblemConfig, artifacts: ArtifactStore
) -> tuple[list[Column], ProblemConfig]:
    """Return the columns and the problem with a column for each label that the target lists.

    Raises DataError if the target cannot be split into labels.
    """
    columns = {c["name"]: Column.model_validate(c) for c in dataset.columns}
    found = listed_labels(problem, {column.name: column.stored_as for column in columns.values()})
    if found is None:
        return list(columns.values()), problem
    labels = found.find(scan(artifacts, dataset, columns=[found.name]).collect())
    problem = of_labels(problem, labels, columns=columns)
    described = found.described(labels, columns.pop(found.name), num_rows=dataset.num_rows)
    return [*columns.values(), *described], problem


def _unreadable(
    dataset: Dataset,
    columns: Iterable[Column],
    types: Mapping[str, FeatureType],
    artifacts: ArtifactStore,
) -> list[str]:
    """Return a warning for each column of text that is read by force and has unreadable cells.

    Raises DataError for a column in which nothing can be read.
    """
    forced = {
        column.name: types[column.name]
        for column in columns
        if column.stored_as == "text" and types.get(column.name) in ("numeric", "datetime")
    }
    if not forced:
        return []
    table = scan(artifacts, dataset, columns=forced).collect()
    found = (
        unreadable_cells(column, forced[column.name], reading=dataset.reading) for column in table
    )
    return [warning for warning in found if warning is not None]


def _pointer(error: DataError) -> str:
    """Return the pointer of the setting, or of its entry, that is wrong."""
    if error.field is None:
        return "/dataset"
    if error.field == "types" and error.column is not None:
        return f"/dataset/types/{escaped(error.column)}"
    return f"/dataset/{error.field}"


def _rare_categories(
    columns: Iterable[Column], selection: Selection, config: PreprocessingConfig
) -> list[str]:
    """Return a warning for each column that has categories which are not kept.

    Where too few rows have a category, the warning needs the counts of `top_values`.
    """
    warnings = []
    for column in columns:
        if selection.features.get(column.name) != "categorical":
            continue
        frequent = [value for value in column.top_values if value.count >= config.min_frequency]
        if column.num_distinct > config.max_categories:
            warnings.append(
                f"column {column.name!r}: the {config.max_categories} most frequent of "
                f"{column.num_distinct} categories are kept, the others count as unknown"
            )
        if len(frequent) < len(column.top_values):
            warnings.append(
                f"column {column.name!r}: {column.num_distinct - len(frequent)} of "
                f"{column.num_distinct} categories have fewer than {config.min_frequency} rows and "
                "count as unknown"
            )
    return warnings


def _check_training(spec: JobSpec, plan: _Plan) -> None:
    split = spec.dataset.split
    try:
        check_preprocessing(spec.preprocessing, num_numbers=plan.inputs.num_numbers)
        check_feasible(
            spec.model,
            spec.training,
            task=plan.selection.task,
            num_rows=plan.num_train,
            num_outputs=plan.num_outputs,
            has_validation=split.kind == "column" or split.validation > 0,
        )
    except InfeasibleError as error:
        raise invalid(f"/{'/'.join(error.field)}", str(error)) from error


def _within_limits(training: TrainingConfig, settings: Settings) -> TrainingConfig:
    """Return the config with the longest time that a job may run, unless it has a shorter one."""
    limits: dict[str, float | None] = {
        "epochs": settings.max_epochs,
        "batch_size": settings.max_batch_size,
        "max_runtime_seconds": settings.max_runtime_seconds,
    }
    for name, limit in limits.items():
        asked = getattr(training, name)
        if limit is not None and asked is not None and asked > limit:
            raise invalid(f"/training/{name}", f"{asked:g} is more than {limit:g}, the limit here")
    if training.max_runtime_seconds is not None:
        return training
    return training.model_copy(update={"max_runtime_seconds": settings.max_runtime_seconds})


def _with_monitor(training: TrainingConfig) -> TrainingConfig:
    """Return the config with what early stopping watches by default: stored jobs name it."""
    stopping = training.early_stopping
    if stopping is None or stopping.monitor is not None:
        return training
    named = stopping.model_copy(update={"monitor": "loss"})
    return training.model_copy(update={"early_stopping": named})


def _queue(spec: JobSpec, settings: Settings) -> str:
    match spec.training.device:
        case "cpu":
            return "cpu"
        case "auto":
            return settings.auto_device_queue
        case "cuda":
            # Without a broker the worker runs on this machine, so its devices are known.
            if settings.redis_url is None and not torch.cuda.is_available():
                raise invalid("/training/device", "this machine has no CUDA device")
            return "gpu"
