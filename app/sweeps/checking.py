"""Check the configs of a sweep's trials as a job's config is checked, before the sweep begins.

- Grid, random and Sobol sampling: every trial of the sweep, since its config is known.
- TPE: the trials of the first window, and in one of them each choice and both bounds of each
  parameter, up to MAX_VALUES.
- Where trials differ in their `dataset`, which can have a setting for each of many columns, as many
  as MAX_SETTINGS allows, and at least MIN_TRIALS.

A trial that is not checked and cannot run fails when its turn comes, and ranks last.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from app.http.errors import RequestError, escaped, invalid, pointer_to, told_of
from app.resolving.resolved_job import Plan, check_by, plan_of
from dropout_core.config import SweepConfig
from dropout_core.config.space import Choice, Integer, LogUniform, Parameter, Uniform, as_json
from dropout_core.sweeps.course import Trial
from dropout_core.sweeps.space import PointerError, apply, at_fault, location_of, values_at
from store.artifacts.artifact_store import ArtifactStore
from store.datasets import Dataset
from store.job_spec import JobSpec
from store.settings import Settings

MAX_VALUES = 1000
MAX_SETTINGS = 1_000_000  # columns times trials
MIN_TRIALS = 8
MAX_TEXT = 200  # of a value that a message quotes

Values = Mapping[str, Any]


class TrialChecks:
    """Checks the trials of a sweep whose base job is `job`, with every value in force."""

    def __init__(
        self,
        config: SweepConfig,
        job: JobSpec,
        *,
        dataset: Dataset,
        plan: Plan,
        settings: Settings,
        artifacts: ArtifactStore,
    ) -> None:
        self._config = config
        self._job = job
        self._dataset = dataset
        self._settings = settings
        self._artifacts = artifacts
        self._plans = {_data_of(job): plan}
        self._base = job.every_value()
        self._shares_data = not any(pointer.startswith("/dataset/") for pointer in config.space)
        if self._shares_data:  # it can have a setting for each of many columns
            self._base["dataset"] = {"id": job.dataset.id, "target": "target"}
        self._num_left = max(MIN_TRIALS, MAX_SETTINGS // max(1, len(plan.columns)))

    def check(self, trials: Iterable[Trial]) -> None:
        """Raise RequestError (422) for the first config that cannot run, naming its value."""
        known = list(trials)
        for trial in known:
            self._check(trial.values)
        if self._config.sampler == "tpe" and known:
            for values in self._single_values(known[0].values):
                self._check(values)

    def _check(self, values: Values) -> None:
        if not self._shares_data:
            self._num_left -= 1
            if self._num_left < 0:
                return
        job = self._applied(values)
        try:
            spec = JobSpec.model_validate(job)
        except ValidationError as error:
            flaw = error.errors()[0]
            pointer = pointer_to(flaw["loc"], job, missing=flaw["type"] == "missing")
            is_unknown = flaw["type"] == "extra_forbidden"
            detail = "a job has no such field" if is_unknown else told_of(flaw)
            place, _, field = pointer.rpartition("/")
            kind = next((p for p in (f"{place}/name", f"{place}/kind") if p in values), None)
            if is_unknown and pointer not in values and kind is not None:
                detail = (
                    f"it has no field {field}, which the base job sets: put a whole {place} into "
                    "the space"
                )
                pointer = kind
            raise self._refusal(values, pointer, detail) from error
        if self._shares_data:
            spec = spec.model_copy(update={"dataset": self._job.dataset})
        try:
            check_by(self._plan_of(spec), spec, self._settings)
        except RequestError as error:
            raise self._refusal(values, error.errors[0].pointer, error.detail) from error

    def _applied(self, values: Values) -> dict[str, Any]:
        try:
            return apply(self._base, values)
        except PointerError as error:
            raise invalid(f"/space/{escaped(error.pointer)}", error.message) from error

    def _plan_of(self, spec: JobSpec) -> Plan:
        key = _data_of(spec)
        if key not in self._plans:
            self._plans[key] = plan_of(self._dataset, spec, self._artifacts)
        return self._plans[key]

    def _single_values(self, values: Values) -> Iterator[Values]:
        """Yield combinations of which each has one more value of one parameter."""
        num_values = 0
        for pointer, parameter in self._config.space.items():
            for value in _extremes(parameter):
                if num_values == MAX_VALUES:
                    return
                num_values += 1
                yield self._with(pointer, value, values)

    def _with(self, pointer: str, value: Any, others: Values) -> Values:
        """Return the values with this one, and with those that its condition needs."""
        chosen = {**others, pointer: value}
        needing = [pointer]
        while needing:
            for other, allowed in (self._config.space[needing.pop()].when or {}).items():
                chosen[other] = allowed[0]
                needing.append(other)

        def draw(name: str) -> Any:
            return chosen[name] if name in chosen else _extremes(self._config.space[name])[0]

        return values_at(self._config, draw)

    def _refusal(self, values: Values, pointer: str, detail: str) -> RequestError:
        """Return the error for a trial that cannot run, which names the parameter at fault."""
        location = location_of(pointer) if pointer else ()
        fault = at_fault(values, location) or at_fault(values, location[:1])
        if fault is None:
            return invalid("/space", f"with {_told(values)}: {pointer}: {detail}")
        value, parameter = values[fault], self._config.space[fault]
        where = f"/space/{escaped(fault)}"
        if isinstance(parameter, Choice):
            index = [as_json(choice) for choice in parameter.choice].index(as_json(value))
            where += f"/choice/{index}"
        place = "" if pointer == fault else f"{pointer}: "
        return invalid(where, f"with {_told({fault: value})}: {place}{detail}")


def _data_of(spec: JobSpec) -> str:
    return f"{spec.task} {spec.dataset.model_dump_json()}"


def _extremes(parameter: Parameter) -> tuple[Any, ...]:
    """Return all choices, or the bounds."""
    match parameter:
        case Choice(choice=values):
            return values
        case Uniform(uniform=bounds) | LogUniform(log_uniform=bounds):
            return bounds
        case Integer(integer=(first, last), step=step):
            return (first, last - (last - first) % step)


def _told(values: Values) -> str:
    """Return the values as text, but little of those that are long."""
    texts = {pointer: as_json(value) for pointer, value in values.items()}
    return ", ".join(
        f"{pointer} = {text if len(text) <= MAX_TEXT else f'{text[:MAX_TEXT]}...'}"
        for pointer, text in texts.items()
    )
