"""The brackets of a sweep: how many trials begin where, and the epochs of their rungs."""

from collections.abc import Sequence
from dataclasses import dataclass

from dropout_core.config.space import Choice, Integer
from dropout_core.config.sweep import EPOCHS, NoPruner, SuccessiveHalving, SweepConfig
from dropout_core.training.feasibility import InfeasibleError


@dataclass(frozen=True)
class Bracket:
    """Trials that begin at one rung together: `size` of them, numbered from `first`.

    - `epochs` are those of its rungs. They ascend, and the last are those of the job.
    - `reduction`: one in so many is promoted, rounded down, and at least one.
    """

    number: int
    first: int
    size: int
    epochs: tuple[int, ...]
    reduction: int = 1

    @property
    def members(self) -> range:
        return range(self.first, self.first + self.size)

    def num_promoted(self, num_entered: int) -> int:
        return max(num_entered // self.reduction, 1)

    @property
    def planned_epochs(self) -> int:
        """Return the epochs that all trials of the bracket train together, if none fails."""
        total, count, done = 0, self.size, 0
        for epochs in self.epochs:
            total += count * (epochs - done)
            count, done = self.num_promoted(count), epochs
        return total


def brackets(config: SweepConfig, *, epochs: int, num_trials: int) -> tuple[Bracket, ...]:
    """Divide the trials of a sweep over brackets. `epochs` are those of the job.

    - Without a pruner there is one bracket with one rung.
    - Successive halving has one bracket. Its last rung is `epochs`, each rung before has
      1 / reduction of that, rounded up. It has as many rungs as fit above `min_epochs`, and no more
      than it takes until a single trial is left.
    - Hyperband has brackets of s + 1 rungs, for s from s_max to 0. s_max is the largest for which
      the rungs fit above `min_epochs` and the sizes ceil((s_max + 1) / (s + 1) * reduction^s) of
      Li et al. 2018, algorithm 1, sum to no more than the trials. The trials are divided in
      proportion to these sizes.

    Raises InfeasibleError that names the pruner's field if there are too few epochs for two rungs.
    """
    pruner = config.pruner
    if isinstance(pruner, NoPruner):
        return (Bracket(0, 0, num_trials, (epochs,)),)
    most = _most_rungs(epochs, pruner.reduction, pruner.min_epochs)
    if most < 2:
        needed = _least_epochs(pruner.reduction, pruner.min_epochs)
        raise InfeasibleError(
            ("pruner", "min_epochs"),
            f"two rungs need at least {needed} epochs, and the job has {epochs}: raise "
            "`training.epochs`, lower `min_epochs` or `reduction`, or use no pruner",
        )
    if isinstance(pruner, SuccessiveHalving):
        num_rungs = min(most, _rungs_until_one(num_trials, pruner.reduction))
        rungs = _rungs(epochs, pruner.reduction, num_rungs)
        return (Bracket(0, 0, num_trials, rungs, pruner.reduction),)
    weights = _hyperband_sizes(pruner.reduction, most, num_trials)
    found: list[Bracket] = []
    first = 0
    for index, size in enumerate(_divided(num_trials, weights)):
        rungs = _rungs(epochs, pruner.reduction, len(weights) - index)
        if size:
            found.append(Bracket(len(found), first, size, rungs, pruner.reduction))
        first += size
    return tuple(found)


def _rungs(epochs: int, reduction: int, count: int) -> tuple[int, ...]:
    return tuple(-(-epochs // reduction**below) for below in reversed(range(count)))


def _most_rungs(epochs: int, reduction: int, min_epochs: int) -> int:
    """Return the largest number of different rungs, of which the first has `min_epochs`."""
    count = 1
    while True:
        first, second, *_ = (*_rungs(epochs, reduction, count + 1),)
        if first < min_epochs or first == second:
            return count
        count += 1


def _least_epochs(reduction: int, min_epochs: int) -> int:
    """Return the least number of epochs that have two rungs."""
    return max(reduction * (min_epochs - 1) + 1, 2)


def _rungs_until_one(num_trials: int, reduction: int) -> int:
    """Return the number of rungs of which only the last has a single trial."""
    count = 1
    while num_trials > 1:
        num_trials = max(num_trials // reduction, 1)
        count += 1
    return count


def _hyperband_sizes(reduction: int, most_rungs: int, num_trials: int) -> list[int]:
    """Return the sizes of the brackets, from the one with the most rungs."""
    for s_max in reversed(range(most_rungs)):
        sizes = [-(-(s_max + 1) * reduction**s // (s + 1)) for s in reversed(range(s_max + 1))]
        if s_max <= 1 or sum(sizes) <= num_trials:
            return sizes
    raise AssertionError("there is at least one rung")


def _divided(total: int, weights: Sequence[int]) -> list[int]:
    """Divide a number in proportion to weights; what is left goes to the largest remainders."""
    parts = [total * weight // sum(weights) for weight in weights]
    rests = [total * weight % sum(weights) for weight in weights]
    order = sorted(range(len(weights)), key=lambda index: (-rests[index], index))
    for index in order[: total - sum(parts)]:
        parts[index] += 1
    return parts


def planned_epochs(config: SweepConfig, *, epochs: int, num_trials: int) -> int:
    """Return the epochs that a sweep trains if no trial fails or stops early, over all repeats.

    Trials whose `epochs` are in the space count as if each had the most that it can have.
    """
    plan = brackets(config, epochs=_most_epochs(config, epochs), num_trials=num_trials)
    return config.repeats * sum(bracket.planned_epochs for bracket in plan)


def _most_epochs(config: SweepConfig, epochs: int) -> int:
    parameter = config.space.get(EPOCHS)
    if not isinstance(parameter, Choice | Integer):  # other numbers are not whole
        return epochs
    of_space = parameter.choice if isinstance(parameter, Choice) else parameter.integer
    of_job = [epochs] if parameter.when is not None else []
    return max(value for value in (*of_space, *of_job) if isinstance(value, int))
