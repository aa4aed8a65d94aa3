"""Resolve a submitted sweep: settle its base job, and refuse a sweep that cannot run."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from sqlalchemy import Connection

from app.http.errors import Flaw, RequestError, invalid
from app.resolving.resolved_job import Plan, ResolvedJob, plan_of, resolve_by
from app.sweeps.checking import TrialChecks
from dropout_core.config import SweepConfig, can_stack
from dropout_core.config.sweep import SEED
from dropout_core.sweeps.course import Trial
from dropout_core.sweeps.decision import first_trials
from dropout_core.sweeps.objectives import check_objectives
from dropout_core.sweeps.rungs import Bracket, brackets
from dropout_core.sweeps.space import PointerError, count_trials
from dropout_core.training.feasibility import InfeasibleError
from store import datasets, sweeps
from store.access import quotas
from store.artifacts.artifact_store import ArtifactStore
from store.database.engine import Database
from store.errors import DatasetNotFound
from store.job_spec import JobSpec
from store.settings import Settings
from store.sweep_spec import SweepSpec
from store.sweeps import Sweep

MAX_SEED = 2**53


@dataclass(frozen=True)
class Places:
    """Where the parts of a sweep are in a request, as beginnings of JSON pointers."""

    search: str
    job: str


OF_SWEEP = Places(search="", job="/job")
OF_TUNED_JOB = Places(search="/tune", job="")


@dataclass(frozen=True)
class ResolvedSweep:
    """A sweep that can run. `spec.job` has a value for every field.

    `first_trials` are those that need no results; with most samplers these are all.
    """

    spec: SweepSpec
    base: ResolvedJob
    plan: Plan
    brackets: tuple[Bracket, ...]
    num_trials: int
    first_trials: tuple[Trial, ...]
    warnings: tuple[str, ...]

    @property
    def num_jobs(self) -> int:
        return self.num_trials * self.spec.repeats


def resolve(
    database: Database,
    spec: SweepSpec,
    settings: Settings,
    *,
    artifacts: ArtifactStore,
    tenant: str,
    places: Places = OF_SWEEP,
) -> ResolvedSweep:
    """Resolve the base job, and check it with the values of all trials that are known.

    It takes up to a second, and no write transaction. Raises RequestError: 422 with the value at
    fault, 404 if there is no such dataset.
    """
    try:
        with database.read() as transaction:
            dataset = datasets.get(transaction, spec.job.dataset.id, tenant=tenant)
    except DatasetNotFound as error:
        flaw = Flaw(pointer=f"{places.job}/dataset/id", detail=str(error))
        raise RequestError(404, "dataset_not_found", str(error), [flaw]) from error
    num_trials = _num_trials(spec, settings, places)
    if spec.job.tune is not None:
        raise invalid(f"{places.job}/tune", "the job of a sweep cannot be a sweep itself")
    base = spec.job
    try:
        plan = plan_of(dataset, base, artifacts)
        resolved = resolve_by(plan, base, settings)
    except RequestError as error:
        raise _within(places.job, error) from error
    try:
        plan_of_rungs = brackets(spec, epochs=resolved.spec.training.epochs, num_trials=num_trials)
        check_objectives(
            spec,
            task=plan.selection.task,
            has_validation=plan.num_validation > 0,
            has_folds=resolved.spec.dataset.split.folds is not None,
            has_quantiles=resolved.spec.training.quantiles is not None,
        )
    except InfeasibleError as error:
        raise invalid(places.search + _pointer_of(error, spec), str(error)) from error
    _require_seeds(spec, resolved.spec, places)
    job = _base_of(spec, resolved, settings)
    first = first_trials(spec, num_trials, epochs=job.training.epochs)
    checks = TrialChecks(
        spec, job, dataset=dataset, plan=plan, settings=settings, artifacts=artifacts
    )
    try:
        checks.check(first)
    except RequestError as error:
        raise _within(places.search, error) from error
    return ResolvedSweep(
        spec=spec.model_copy(update={"job": job}),
        base=resolved,
        plan=plan,
        brackets=plan_of_rungs,
        num_trials=num_trials,
        first_trials=first,
        warnings=(*resolved.warnings, *_warnings(spec, num_trials, settings)),
    )


def create(
    transaction: Connection,
    resolved: ResolvedSweep,
    settings: Settings,
    *,
    tenant: str,
    traceparent: str | None,
) -> Sweep:
    """Insert the sweep. Raises DatasetNotFound if its dataset is gone, and QuotaExceeded."""
    dataset_id = resolved.spec.job.dataset.id
    datasets.get(transaction, dataset_id, tenant=tenant, lock=True)
    quotas.require_queue_quota(transaction, tenant=tenant, max_queued=settings.tenant_queued_jobs)
    return sweeps.create(
        transaction,
        resolved.spec,
        tenant=tenant,
        task=resolved.plan.selection.task,
        queue=resolved.base.queue,
        warnings=resolved.warnings,
        traceparent=traceparent,
    )


def _num_trials(spec: SweepSpec, settings: Settings, places: Places) -> int:
    """Return the number of trials. Raises RequestError (422) for more jobs than are allowed."""
    try:
        num_trials = count_trials(spec)
    except PointerError as error:
        raise invalid(f"{places.search}/space", str(error)) from error
    if num_trials * spec.repeats <= settings.max_trials:
        return num_trials
    is_grid = spec.sampler == "grid"
    of_repeats = f" with {spec.repeats} repeats each" if spec.repeats > 1 else ""
    what = f"the grid has {num_trials} combinations" if is_grid else f"{num_trials} trials"
    remedy = "use fewer values, or another sampler" if is_grid else "lower `budget.trials`"
    raise invalid(
        f"{places.search}{'/space' if is_grid else '/budget/trials'}",
        f"{what}{of_repeats}: {settings.max_trials} jobs are allowed; {remedy}",
    )


def _within(place: str, error: RequestError) -> RequestError:
    """Return the error with pointers into the whole request."""
    flaws: Iterable[Flaw] = (
        Flaw(pointer=place + flaw.pointer, detail=flaw.detail) for flaw in error.errors
    )
    return RequestError(error.status, error.code, error.detail, flaws)


def _pointer_of(error: InfeasibleError, spec: SweepConfig) -> str:
    """Return the pointer of the field at fault; a single objective is no list in the request."""
    field = error.field
    if field[0] == "objective" and len(spec.objective) == 1:
        field = (field[0], *field[2:])
    return "".join(f"/{part}" for part in field)


def _require_seeds(spec: SweepSpec, job: JobSpec, places: Places) -> None:
    if job.training.seed + spec.repeats > MAX_SEED:
        raise invalid(
            f"{places.job}/training/seed",
            f"{spec.repeats} repeats have this seed and those after it, which must be below 2^53",
        )


def _base_of(spec: SweepSpec, resolved: ResolvedJob, settings: Settings) -> JobSpec:
    """Return the job that trials differ from: its device is settled, and its name the winner's."""
    job, training = resolved.spec, resolved.spec.training
    # Without a broker the worker runs on this machine. A stack is computed on its processor.
    if training.device == "auto" and settings.redis_url is None and torch.cuda.is_available():
        training = training.model_copy(update={"device": "cuda"})
    training = training.model_copy(update={"stacked": can_stack(job.model, training)})
    return job.model_copy(update={"name": job.name or spec.name, "training": training})


def _warnings(spec: SweepSpec, num_trials: int, settings: Settings) -> list[str]:
    warnings = []
    seconds = spec.job.training.max_runtime_seconds
    if seconds is not None and seconds != settings.max_runtime_seconds:
        warnings.append(
            f"a trial that trains for {seconds:g} s (`training.max_runtime_seconds`) is stopped: "
            "the winner can then be another one each time"
        )
    if spec.sampler != "grid" and num_trials < spec.budget.trials:
        warnings.append(
            f"the space has {num_trials} combinations: there are so many trials, and not "
            f"{spec.budget.trials}"
        )
    if SEED in spec.space and spec.repeats == 1 and len(spec.space) == 1:
        warnings.append("the trials differ by their seed alone: the winner is the luckiest of them")
    return warnings
