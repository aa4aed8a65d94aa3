"""A whole sweep in one process, without a service.

    table = resolve_table(frame, ProblemConfig(target="label"))
    config = SweepConfig(space={"/model/hidden_dropout": {"uniform": [0.0, 0.8]}})
    result = sweep(table, config=config, training=TrainingConfig(epochs=10))
    print(result.best.evaluations["test"].metrics)

Trials wait for each other at their rungs in memory, and go on from there: nothing is trained twice.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from pydantic import ValidationError

from dropout_core.config import (
    MLPConfig,
    PreprocessingConfig,
    Recipe,
    SweepConfig,
    TrainingConfig,
    stack_key,
)
from dropout_core.config.network import MAX_MEMBERS
from dropout_core.config.presets import Sections
from dropout_core.config.space import as_json
from dropout_core.config.sweep import MAX_TRIALS
from dropout_core.errors import require_type
from dropout_core.pipeline.completion import Completed, complete
from dropout_core.pipeline.resolved_table import ResolvedTable
from dropout_core.pipeline.tabular_run import TabularRun
from dropout_core.sweeps.decision import (
    Decision,
    Rung,
    Standing,
    Trial,
    decide,
    importance,
    standings,
)
from dropout_core.sweeps.jobs import as_repeat
from dropout_core.sweeps.objectives import Result, check_objectives
from dropout_core.sweeps.scoring import means_over_folds, trial_metrics
from dropout_core.sweeps.space import PointerError, apply, at_fault, count_trials, location_of
from dropout_core.training.feasibility import InfeasibleError, check_feasible
from dropout_core.training.loop import Diverged
from dropout_core.training.stack import Stack
from dropout_core.training.state import TrainingState

_MAX_ALIKE = 4
"""So many encodings of the table are kept in memory, for the trials that share them."""


@dataclass(frozen=True)
class Reached:
    """An event: a repeat of a trial has a result at a rung."""

    trial: int
    repeat: int
    rung: Rung
    result: Result


Event = Trial | Reached | Rung


@dataclass(frozen=True)
class SweepResult:
    """What a sweep has found.

    - `standings`: all trials from the best to the worst, with their scores.
    - `rungs`: who was compared and promoted where.
    - `winners`: the winner, or all trials of the Pareto front. Empty if every trial failed.
    - `importance` of each parameter; see `decision.importance`.
    - `models`: the finished model of each winner, by its number: that of the first repeat, trained
      to its end, refitted and calibrated as its config says.
    """

    trials: tuple[Trial, ...]
    standings: tuple[Standing, ...]
    rungs: tuple[Rung, ...]
    winners: tuple[int, ...]
    importance: dict[str, float] | None
    models: dict[int, Completed]

    @property
    def best(self) -> Completed:
        """Return the model of the winner, or of the first one. Raises LookupError without any."""
        if not self.winners:
            raise LookupError("there is no winner: no trial has a score (each failed, or ran late)")
        return self.models[self.winners[0]]


def sweep(
    table: ResolvedTable,
    *,
    config: SweepConfig,
    preprocessing: PreprocessingConfig | None = None,
    model: MLPConfig | None = None,
    training: TrainingConfig | None = None,
    fused: bool = True,
    on_event: Callable[[Event], None] = lambda _: None,
) -> SweepResult:
    """Search for the best config of a model of `table`, and train it.

    The space goes over fields of `preprocessing`, `model` and `training`. `fused` trains networks
    that can be stacked as one, up to 64 at a time; without it one is trained after the other, with
    the same bits. `on_event` is told of each new trial, each result and each rung that is full. The
    seconds of the budget end the search; what has won by then is still trained to its end.

    Raises PointerError that names a parameter if a config of the space cannot be trained,
    InfeasibleError if the grid is too large, or if the pruner or an objective does not fit, and
    DataError.
    """
    hint = "pass the frame through resolve_table(frame, ProblemConfig(target=...)) first"
    require_type(table, ResolvedTable, name="table", hint=hint)
    require_type(config, SweepConfig, name="config", hint="give SweepConfig(space=...)")
    base = Recipe(
        preprocessing or PreprocessingConfig(), model or MLPConfig(), training or TrainingConfig()
    )
    check_objectives(
        config,
        task=table.task,
        has_validation=len(table.split.validation) > 0,
        has_folds=len(table.folds) > 0,
        has_quantiles=base.training.quantiles is not None,
    )
    if (num_trials := count_trials(config)) > MAX_TRIALS:
        raise InfeasibleError(
            ("sampler",),
            f"the grid has {num_trials} combinations, and a sweep at most {MAX_TRIALS} trials: "
            "leave values out, or use another sampler",
        )
    for pointer in config.pointers:
        if location_of(pointer)[0] not in Recipe._fields:
            raise PointerError(pointer, f"a sweep of a table is over {', '.join(Recipe._fields)}")
    return _Sweep(table, config, base, fused=fused, on_event=on_event).run()


@dataclass(frozen=True)
class _Task:
    """A repeat of a trial that has to reach a rung."""

    trial: int
    repeat: int
    rung: Rung
    epochs: int


class _Sweep:
    def __init__(
        self,
        table: ResolvedTable,
        config: SweepConfig,
        base: Recipe,
        *,
        fused: bool,
        on_event: Callable[[Event], None],
    ) -> None:
        self._table = table
        self._config = config
        self._epochs = base.training.epochs
        self._job = {name: section.every_value() for name, section in base._asdict().items()}
        self._fused = fused
        self._tell = on_event
        self._trials: list[Trial] = []
        self._recipes: dict[tuple[int, int], Recipe] = {}
        self._results: dict[tuple[int, int, int], Result] = {}
        self._states: dict[tuple[int, int], TrainingState] = {}
        self._told: set[tuple[int, int]] = set()
        self._alike: dict[str, TabularRun] = {}  # runs whose rows others share
        self._ends_at = monotonic() + (config.budget.seconds or float("inf"))

    def run(self) -> SweepResult:
        while (decision := self._decide()).winners is None:
            for group in self._groups(decision):
                if not self._is_exhausted:
                    self._train(group)
        self._states = {key: s for key, s in self._states.items() if key[0] in decision.winners}
        known: dict[str, Any] = {
            "epochs": self._epochs,
            "trials": self._trials,
            "results": self._results,
        }
        return SweepResult(
            trials=tuple(self._trials),
            standings=standings(self._config, **known),
            rungs=decision.rungs,
            winners=decision.winners,
            importance=importance(self._config, **known),
            models={number: complete(self._tabular_run(number, 0)) for number in decision.winners},
        )

    @property
    def _is_exhausted(self) -> bool:
        return monotonic() >= self._ends_at

    def _decide(self) -> Decision:
        decision = decide(
            self._config,
            epochs=self._epochs,
            trials=self._trials,
            results=self._results,
            is_exhausted=self._is_exhausted,
        )
        for trial in decision.new_trials:
            recipe = self._recipe(trial)
            for repeat in range(self._config.repeats):
                training = as_repeat(recipe.model, recipe.training, number=repeat)
                self._recipes[trial.number, repeat] = recipe._replace(training=training)
            self._trials.append(trial)
            self._tell(trial)
        for rung in decision.rungs:
            if rung.is_full and (rung.bracket, rung.number) not in self._told:
                self._told.add((rung.bracket, rung.number))
                self._tell(rung)
        for key in [key for key in self._states if key[0] in decision.pruned]:
            del self._states[key]
        return decision

    def _recipe(self, trial: Trial) -> Recipe:
        """Return the config of a trial. Raises PointerError if it cannot be trained."""
        job = apply(self._job, trial.values)
        try:
            sections = Sections.model_validate(job)
            check_feasible(
                sections.model,
                sections.training,
                task=self._table.task,
                num_rows=len(self._table.split.train),
                num_outputs=len(self._table.output_names),
                has_validation=len(self._table.split.validation) > 0,
            )
        except ValidationError as error:
            flaw = error.errors()[0]
            raise _refusal(trial, flaw["loc"], flaw["msg"]) from error
        except InfeasibleError as error:
            raise _refusal(trial, error.field, error.message) from error
        return Recipe(sections.preprocessing, sections.model, sections.training)

    def _groups(self, decision: Decision) -> Iterator[Sequence[_Task]]:
        """Yield the repeats that have to be trained; those of one group are trained together."""
        alone: list[_Task] = []
        stacks: dict[str, list[_Task]] = {}
        for task in self._tasks(decision):
            recipe = self._recipes[task.trial, task.repeat]
            rest = as_json(recipe.preprocessing.every_value()).encode()
            key = stack_key(model=recipe.model, training=recipe.training, rest=rest)
            if key is None or not self._fused:
                alone.append(task)
            else:
                stacks.setdefault(key, []).append(task)
        for tasks in stacks.values():
            for start in range(0, len(tasks), MAX_MEMBERS):
                yield tasks[start : start + MAX_MEMBERS]
        yield from ([task] for task in alone)

    def _tasks(self, decision: Decision) -> Iterator[_Task]:
        for rung in decision.rungs:
            for trial in rung.entered:
                if rung.is_full or trial in decision.pruned:
                    continue
                for repeat in range(self._config.repeats):
                    before = [self._results.get((trial, repeat, r)) for r in range(rung.number + 1)]
                    is_over = any(result is not None and result.finished for result in before)
                    if before[-1] is None and not is_over:
                        yield _Task(trial, repeat, rung, decision.epochs[trial])

    def _train(self, tasks: Sequence[_Task]) -> None:
        """Train repeats, whose networks can be stacked if there are several, up to their rungs."""
        runs = [self._tabular_run(task.trial, task.repeat) for task in tasks]
        limits = {index: task.epochs for index, task in enumerate(tasks)}
        stack = Stack([run.training for run in runs], limits=limits)
        for _ in stack:
            if self._is_exhausted:
                break
        for index, (task, run) in enumerate(zip(tasks, runs, strict=True)):
            training = run.training
            if index in stack.errors:
                result = Result(None)
            elif training.finished or len(training.history) >= task.epochs:
                result = self._scored(run)
                self._states[task.trial, task.repeat] = training.state()
            else:
                continue  # the time is up
            self._results[task.trial, task.repeat, task.rung.number] = result
            self._tell(Reached(task.trial, task.repeat, task.rung, result))

    def _scored(self, run: TabularRun) -> Result:
        names = [objective.metric for objective in self._config.objective]
        is_over_folds = any(objective.is_over_folds for objective in self._config.objective)
        try:
            over_folds = means_over_folds(run) if is_over_folds else None
            metrics = trial_metrics(run, names, over_folds=over_folds)
        except Diverged:
            return Result(None)
        values = [metrics[name] for name in names]
        known = tuple(float(value) for value in values if value is not None)
        return Result(known if len(known) == len(values) else None, run.training.finished)

    def _tabular_run(self, number: int, repeat: int) -> TabularRun:
        """Return a run that goes on where this repeat has stopped, or begins it."""
        recipe = self._recipes[number, repeat]
        rows = as_json([recipe.preprocessing.every_value(), recipe.training.quantiles])
        run = TabularRun(self._table, **recipe._asdict(), like=self._alike.get(rows))
        if len(self._alike) == _MAX_ALIKE:
            self._alike.clear()
        self._alike.setdefault(rows, run)
        if (state := self._states.get((number, repeat))) is not None:
            run.training.restore(state)
        return run


def _refusal(trial: Trial, location: Sequence[str | int], message: str) -> PointerError:
    pointer = at_fault(trial.values, location)
    if pointer is None:  # the base job is wrong, or a value does not go with the others
        place = "/" + "/".join(map(str, location))
        return PointerError(place, f"trial {trial.number} has {as_json(trial.values)}: {message}")
    return PointerError(
        pointer, f"trial {trial.number} has {as_json(trial.values[pointer])}: {message}"
    )
