"""The report on sweeps, as Markdown."""

import statistics
from collections.abc import Iterator, Sequence

from benchmarks.goals import Goal
from benchmarks.sweeps.curves import Outcome, Race, mean_ratio, races
from benchmarks.sweeps.tiny import Overhead

SERVICE = "service"
RIVALS = ("Optuna", "Ray Tune")
AT_LEAST = 4.0
MILLISECONDS = 5.0


def report(outcomes: Sequence[Outcome]) -> str:
    """Return what each contestant took on each table, and how many times as much as the service."""
    names = list(dict.fromkeys(outcome.contestant for outcome in outcomes))
    found = races(outcomes, names)
    if not found:
        return "no table and seed has all contestants"
    lines = []
    for table in dict.fromkeys(race.table for race in found):
        of_table = [race for race in found if race.table == table]
        seeds = ", ".join(f"{race.loss:.4f}" for race in of_table)
        lines += [f"### {table}: seconds to the validation loss that all reach ({seeds})", ""]
        lines += _markdown(
            ["contestant", "to the loss", "to the end", "best loss", "epochs"],
            [
                [
                    name,
                    _spread([race.seconds(name) for race in of_table]),
                    _spread([race.outcomes[name].seconds for race in of_table]),
                    f"{statistics.median(race.outcomes[name].best for race in of_table):.4f}",
                    f"{statistics.median(race.outcomes[name].epochs for race in of_table):.0f}",
                ]
                for name in names
            ],
        )
        lines.append("")
    if SERVICE in names:
        lines += _ratios(found, [name for name in names if name != SERVICE])
    return "\n".join(lines)


def _ratios(found: Sequence[Race], rivals: Sequence[str]) -> list[str]:
    """Return geometric means of the times of others as multiples of the service's."""
    by_table: dict[str, list[Race]] = {}
    for race in found:
        by_table.setdefault(race.table, []).append(race)
    groups = [*by_table.values(), found]
    rows = [
        [
            rival,
            *(f"{mean_ratio([race.ratio(SERVICE, rival) for race in g]):.2f}" for g in groups),
            f"{mean_ratio([race.total_ratio(SERVICE, rival) for race in found]):.2f}",
        ]
        for rival in rivals
    ]
    head = ["to the loss", *by_table, "all tables", "all, to the end"]
    title = f"### Times that the others take of the service's, {len(found)} searches"
    return [title, "", *_markdown(head, rows)]


def goals(outcomes: Sequence[Outcome], overhead: Overhead | None) -> Iterator[Goal]:
    """Yield the goal against each rival, of whose ways the fastest one in the mean counts, and that
    of tiny jobs.
    """
    names = list(dict.fromkeys(outcome.contestant for outcome in outcomes))
    found = races(outcomes, names) if SERVICE in names else []
    for rival in RIVALS:
        ways = [name for name in names if name.startswith(rival)]
        ratios = [mean_ratio([race.ratio(SERVICE, way) for race in found]) for way in ways if found]
        fastest = [min(ratios)] if ratios else []
        yield Goal(f"as soon at the same loss as {rival}", "at least", AT_LEAST, fastest)
    added = [] if overhead is None else overhead.milliseconds
    yield Goal("milliseconds more for a tiny trial in the service", "under", MILLISECONDS, added)


def _spread(values: Sequence[float]) -> str:
    """Return the median, and the range of several values."""
    middle = f"{statistics.median(values):.1f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.1f}-{max(values):.1f})"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]
