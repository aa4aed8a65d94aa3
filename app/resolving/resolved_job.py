"""Resolve a submitted job: fill in every setting, and refuse a job that cannot run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from sqlalchemy import Connection

from app.http.errors import RequestError, escaped, invalid
from app.resolving.settling import settle
from app.serving.dataset_rows import scan
from dropout_core.config import FeatureType, PreprocessingConfig, ProblemConfig
from dropout_core.data.columns import Column
from dropout_core.data.declared_types import unreadable_cells
from dropout_core.data.labels import listed_labels, of_labels
from dropout_core.data.selection import Selection, select
from dropout_core.data.splits import check_split, rare_classes
from dropout_core.errors import DataError
from dropout_core.training import memory
from dropout_core.training.feasibility import InfeasibleError, check_feasible, check_preprocessing
from store import datasets
from store.artifacts.artifact_store import ArtifactStore
from store.datasets import Dataset
from store.errors import DatasetNotFound
from store.job_spec import JobSpec
from store.settings import Settings

MIN_WIDTH = 16
"""The layers of a preset are made no narrower than this to fit the limits of the service."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of a job's network, and the memory that its training takes, about."""

    in_features: int
    out_features: int
    num_parameters: int
    training_bytes: int


@dataclass(frozen=True)
class ResolvedJob:
    spec: JobSpec
    warnings: tuple[str, ...]
    queue: str
    sizes: Sizes


@dataclass(frozen=True)
class Plan:
    """The data of a job, as its dataset's columns describe them."""

    columns: list[Column]
    selection: Selection
    num_rows: int
    num_train: int
    num_validation: int
    num_outputs: int
    warnings: tuple[str, ...]
    _inputs: dict[PreprocessingConfig, memory.InputSizes] = field(default_factory=dict)

    @property
    def has_classes(self) -> bool:
        return self.selection.task in ("binary", "multiclass")

    def inputs(self, config: PreprocessingConfig) -> memory.InputSizes:
        """Return the sizes of a network's inputs. Jobs that share the plan count them once."""
        if config not in self._inputs:
            self._inputs[config] = memory.input_sizes(self.columns, self.selection, config)
        return self._inputs[config]


def resolve(
    transaction: Connection,
    spec: JobSpec,
    settings: Settings,
    *,
    artifacts: ArtifactStore,
    tenant: str,
) -> ResolvedJob:
    """Resolve features, their types, task, preset and queue by the dataset, which is locked.

    Raises RequestError (422) naming the field that makes the job impossible.
    """
    dataset = dataset_of(transaction, spec, tenant=tenant)
    return resolve_by(plan_of(dataset, spec, artifacts), spec, settings)


def dataset_of(transaction: Connection, spec: JobSpec, *, tenant: str) -> Dataset:
    """Return the job's dataset, which is locked. Raises RequestError (422) if there is none."""
    try:
        return datasets.get(transaction, spec.dataset.id, tenant=tenant, lock=True)
    except DatasetNotFound as error:
        raise invalid("/dataset/id", str(error)) from error


def plan_of(dataset: Dataset, spec: JobSpec, artifacts: ArtifactStore) -> Plan:
    """Return the plan of the job's `dataset` and `task`; it serves all jobs that share these two.

    Raises RequestError (422) if the columns make the job impossible.
    """
    try:
        return _plan(dataset, spec, artifacts)
    except DataError as error:
        raise invalid(_pointer(error), str(error)) from error


def resolve_by(plan: Plan, spec: JobSpec, settings: Settings) -> ResolvedJob:
    """Resolve a job by the plan of its data; for errors see `resolve`."""
    selection = plan.selection
    chosen = spec.dataset.model_copy(
        update={
            "features": tuple(selection.features),
            "types": {**spec.dataset.types, **selection.features},
            "split": spec.dataset.split.settled(has_classes=plan.has_classes),
        }
    )
    asked = spec.model_copy(update={"dataset": chosen, "task": selection.task})
    settled, settled_warnings = _settled(asked, plan, settings)
    gives_layers = settled.preset == "plain" or "hidden" in spec.model.model_fields_set
    fitting, sizes = _fitting(settled, plan, settings, may_narrow=not gives_layers)
    narrowed = [] if fitting.model == settled.model else [_narrowed_warning(fitting)]
    return ResolvedJob(
        spec=fitting,
        warnings=(
            *plan.warnings,
            *_rare_categories(plan, settled.preprocessing),
            *settled_warnings,
            *narrowed,
        ),
        queue=_queue(spec, settings),
        sizes=sizes,
    )


def check_by(plan: Plan, spec: JobSpec, settings: Settings) -> None:
    """Raise RequestError (422) if a job with a value for every field cannot run.

    It costs less than to resolve the job.
    """
    settled, _ = _settled(spec, plan, settings)
    _fitting(settled, plan, settings, may_narrow=False)


def _settled(spec: JobSpec, plan: Plan, settings: Settings) -> tuple[JobSpec, list[str]]:
    """Return the job with a value for each field, which can be trained, and warnings."""
    settled, warnings = settle(
        spec,
        plan.selection,
        settings,
        num_train=plan.num_train,
        num_validation=plan.num_validation,
    )
    _check_training(settled, plan, asked=spec)
    return settled, warnings


def _fitting(
    spec: JobSpec, plan: Plan, settings: Settings, *, may_narrow: bool
) -> tuple[JobSpec, Sizes]:
    """Return the job and its sizes, with layers of half their width until it fits the settings.

    Raises RequestError (422) for a job that does not fit and may not be made narrower.
    """
    sizes = _sizes(spec, plan)
    refusal = _refusal(sizes, settings)
    if refusal is None:
        return spec, sizes
    widths = spec.model.hidden
    while may_narrow and min(widths, default=0) >= 2 * MIN_WIDTH:
        widths = tuple(width // 2 for width in widths)
        model = spec.model.model_copy(update={"hidden": widths})
        narrower = spec.model_copy(update={"model": model})
        sizes = _sizes(narrower, plan)
        if _refusal(sizes, settings) is None:
            return narrower, sizes
    raise refusal


def _sizes(spec: JobSpec, plan: Plan) -> Sizes:
    inputs = plan.inputs(spec.preprocessing)
    in_features = inputs.in_features(spec.preprocessing)
    out_features = plan.num_outputs * len(spec.training.quantiles or (0.5,))
    sizes = {
        "in_features": in_features,
        "out_features": out_features,
        "num_embedded": inputs.num_embedded(spec.preprocessing),
    }
    return Sizes(
        in_features,
        out_features,
        memory.num_parameters(spec.model, **sizes),
        memory.training_bytes(
            spec.model,
            spec.training,
            num_rows=plan.num_rows,
            num_columns=inputs.num_values + len(inputs.cardinalities),
            num_entries=inputs.num_entries(spec.preprocessing),
            cross_validates=spec.dataset.split.folds is not None,
            **sizes,
        ),
    )


def _refusal(sizes: Sizes, settings: Settings) -> RequestError | None:
    """Return the error (422) of a job that is larger than the settings allow."""
    if sizes.num_parameters > settings.max_parameters:
        return invalid(
            "/model/hidden",
            f"{sizes.num_parameters} parameters, {settings.max_parameters} are allowed: use fewer "
            "or narrower layers",
        )
    if sizes.training_bytes > settings.max_training_bytes:
        return invalid(
            "/model/hidden",
            f"training would take about {sizes.training_bytes} bytes, "
            f"{settings.max_training_bytes} are allowed: use fewer or narrower layers, fewer "
            "features, or a smaller batch",
        )
    return None


def _narrowed_warning(spec: JobSpec) -> str:
    widths = ", ".join(map(str, spec.model.hidden))
    return (
        f"the layers of the preset {spec.preset} would be larger than this service allows: "
        f"the job has {widths} units"
    )


def _plan(dataset: Dataset, spec: JobSpec, artifacts: ArtifactStore) -> Plan:
    """Return the job's plan. Raises DataError if the columns make the job impossible."""
    columns, problem = _with_labels(dataset, spec.problem, artifacts)
    selection = select(columns, **problem.of_columns, num_rows=dataset.num_rows)
    targets = [column for column in columns if column.name in selection.targets]
    num_labelled = dataset.num_rows - max(target.num_missing for target in targets)
    split = spec.dataset.split
    num_train, num_validation = check_split(num_labelled, split, columns, selection=selection)
    return Plan(
        columns,
        selection,
        num_rows=dataset.num_rows,
        num_train=num_train,
        num_validation=num_validation,
        num_outputs=(
            targets[0].num_distinct
            if selection.task in ("binary", "multiclass")
            else len(selection.targets)
        ),
        warnings=(
            *selection.warnings,
            *_unreadable(dataset, columns, {**spec.dataset.types, **selection.features}, artifacts),
            *rare_classes(columns, selection, split),
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


def _rare_categories(plan: Plan, config: PreprocessingConfig) -> list[str]:
    """Return a warning for each column that has categories which are not kept.

    Where too few rows have a category, the warning needs the counts of `top_values`.
    """
    warnings = []
    for column in plan.columns:
        if plan.selection.features.get(column.name) != "categorical":
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


def _check_training(spec: JobSpec, plan: Plan, *, asked: JobSpec) -> None:
    """Raise RequestError (422) if the job cannot be trained; `asked` is the job as submitted."""
    try:
        num_numbers = plan.inputs(spec.preprocessing).num_numbers
        check_preprocessing(spec.preprocessing, num_numbers=num_numbers)
        check_feasible(
            spec.model,
            spec.training,
            task=plan.selection.task,
            num_rows=plan.num_train,
            num_outputs=plan.num_outputs,
            has_validation=plan.num_validation > 0,
        )
    except InfeasibleError as error:
        section, *fields = error.field
        is_given = set(fields[:1]) <= getattr(asked, section).model_fields_set
        by_preset = "" if is_given else f" (it has the value of the preset {spec.preset})"
        raise invalid(f"/{'/'.join(error.field)}", f"{error}{by_preset}") from error


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
