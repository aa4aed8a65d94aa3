"""The space of a sweep: combinations of values, and how they get into a job."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dropout_core.config import SweepConfig
from dropout_core.config.space import Choice, Integer, LogUniform, Parameter, Uniform, as_json

Values = dict[str, Any]

_DROPOUTS = "/model/hidden_dropout"
_MAX_CASES = 10_000


class PointerError(ValueError):
    """A pointer of the space leads nowhere in the job; `pointer` is that of the parameter."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(pointer, message)  # both, so that it can be pickled
        self.pointer = pointer
        self.message = message

    def __str__(self) -> str:
        return f"{self.pointer}: {self.message}"


def apply(job: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a job, as JSON with every value, with others set at their pointers.

    Shorter pointers come first: one parameter may be an object, and another a field of it. Dropouts
    that are equal in all hidden layers become one for all, unless a pointer goes into their list,
    so that the number of layers can differ. Raises PointerError if a pointer goes through something
    else than an object or an entry of a list.
    """
    result = copy.deepcopy(dict(job))
    dropouts = result.get("model", {}).get("hidden_dropout")
    goes_into_list = any(pointer.startswith(f"{_DROPOUTS}/") for pointer in values)
    if isinstance(dropouts, list) and dropouts and not goes_into_list:
        is_one = all(dropout == dropouts[0] for dropout in dropouts)
        result["model"]["hidden_dropout"] = dropouts[0] if is_one else dropouts
    for pointer in sorted(values, key=lambda pointer: (pointer.count("/"), pointer)):
        _set(result, pointer, copy.deepcopy(values[pointer]))
    return result


def location_of(pointer: str) -> tuple[str, ...]:
    """Return the parts of a pointer."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/"))


def at_fault(values: Mapping[str, Any], location: Sequence[str | int]) -> str | None:
    """Return the longest pointer of the values that an error's location lies at or below.

    If there is none, return one that lies below the location, such as a field of an object that is
    wrong as a whole.
    """
    path = tuple(map(str, location))
    above = [p for p in values if path[: len(location_of(p))] == location_of(p)]
    below = [p for p in values if location_of(p)[: len(path)] == path]
    return max(above, key=len) if above else min(below, default=None)


def _set(job: dict[str, Any], pointer: str, value: Any) -> None:
    *way, last = location_of(pointer)
    target: Any = job
    for depth, part in enumerate([*way, last]):
        here = "/" + "/".join(way[:depth])
        if isinstance(target, list):
            if part not in map(str, range(len(target))):  # RFC 6901 has no leading zeros
                raise PointerError(
                    pointer, f"{here} is a list of {len(target)}, which has no entry {part!r}"
                )
            key: Any = int(part)
        elif isinstance(target, dict):
            key = part
        else:
            raise PointerError(
                pointer,
                f"{here} is {as_json(target)}, which has no fields: put whole objects for it into "
                "the space",
            )
        if depth == len(way):
            target[key] = value
        else:
            target = target[key] if isinstance(target, list) else target.setdefault(key, {})


def value_at(parameter: Parameter, u: float) -> Any:
    """Return the value of a parameter at u in [0, 1), a point of its distribution function."""
    match parameter:
        case Choice(choice=values):
            return values[min(int(u * len(values)), len(values) - 1)]
        case Uniform(uniform=(low, high)):
            return min(max(low * (1 - u) + high * u, low), high)
        case LogUniform(log_uniform=(low, high)):
            return min(max(math.exp(math.log(low) * (1 - u) + math.log(high) * u), low), high)
        case Integer(integer=(first, last), log=True):
            start, stop = math.log(first - 0.5), math.log(last + 0.5)
            return min(max(round(math.exp(start * (1 - u) + stop * u)), first), last)
        case Integer(integer=(first, _), step=step, num_values=count):
            return first + step * min(int(u * count), count - 1)


def values_at(config: SweepConfig, draw: Callable[[str], Any]) -> Values:
    """Return the values that `draw` gives for each pointer whose parameter is active."""
    values: Values = {}
    for pointer in config.pointers:
        if is_active(config.space[pointer], values):
            values[pointer] = draw(pointer)
    return values


def is_active(parameter: Parameter, values: Mapping[str, Any]) -> bool:
    """Return whether the parameter's condition holds, given the values of those before it."""
    return all(
        other in values and as_json(values[other]) in texts
        for other, texts in parameter.conditions.items()
    )


def combinations(config: SweepConfig) -> Iterator[Values]:
    """Return the combinations of a finite space one by one; the last pointer varies fastest."""
    pointers = config.pointers

    def go_on(index: int, values: Values) -> Iterator[Values]:
        if index == len(pointers):
            yield values
            return
        parameter = config.space[pointers[index]]
        if not is_active(parameter, values):
            yield from go_on(index + 1, values)
            return
        for value in _listed(parameter):
            yield from go_on(index + 1, {**values, pointers[index]: value})

    return go_on(0, {})


def _listed(parameter: Parameter) -> Sequence[Any]:
    if isinstance(parameter, Choice):
        return parameter.choice
    assert isinstance(parameter, Integer)
    first, last = parameter.integer
    return range(first, last + 1, parameter.step)


def count_combinations(config: SweepConfig) -> int | None:
    """Return the number of combinations; None if a parameter has infinitely many values.

    Raises PointerError if conditions depend on each other in more than 10,000 cases.
    """
    if any(isinstance(p, Uniform | LogUniform) for p in config.space.values()):
        return None
    return math.prod(_count(config, group) for group in _groups(config))


def _groups(config: SweepConfig) -> list[list[str]]:
    """Return the pointers in groups whose conditions do not depend on other groups."""
    groups: list[list[str]] = []
    for pointer in config.pointers:
        others = set(config.space[pointer].when or {})
        joined = [group for group in groups if others.intersection(group)]
        groups = [group for group in groups if group not in joined]
        groups.append([*(p for group in joined for p in group), pointer])
    return [[p for p in config.pointers if p in group] for group in groups]


def _count(config: SweepConfig, group: Sequence[str]) -> int:
    """Return the number of combinations of a group, case by case of what its conditions name."""
    named: dict[str, set[str]] = {}
    for pointer in group:
        for other, texts in config.space[pointer].conditions.items():
            named.setdefault(other, set()).update(texts)
    num_cases = 0

    def go_on(index: int, known: Mapping[str, str | None]) -> int:
        nonlocal num_cases
        if index == len(group):
            num_cases += 1
            if num_cases > _MAX_CASES:
                raise PointerError(
                    group[0],
                    f"the conditions of this and other parameters have more than {_MAX_CASES:,} "
                    "cases: use fewer of them",
                )
            return 1
        pointer = group[index]
        parameter = config.space[pointer]
        if not all(known.get(other) in texts for other, texts in parameter.conditions.items()):
            return go_on(index + 1, known)
        count = len(_listed(parameter))
        if pointer not in named:
            return count * go_on(index + 1, known)
        cases = named[pointer]
        total = sum(go_on(index + 1, {**known, pointer: text}) for text in cases)
        rest = count - len(cases)  # for which no condition holds
        return total + (rest * go_on(index + 1, {**known, pointer: None}) if rest else 0)

    return go_on(0, {})


def count_trials(config: SweepConfig) -> int:
    """Return the number of trials: those of the budget, or all combinations if there are fewer.

    A grid has all combinations, whatever the budget.
    """
    num_combinations = count_combinations(config)
    if num_combinations is None:
        return config.budget.trials
    if config.sampler == "grid":
        return num_combinations
    return min(config.budget.trials, num_combinations)
