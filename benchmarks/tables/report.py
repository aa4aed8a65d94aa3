"""The benchmark's report as Markdown: the scores of each table, the figures, and the details."""

from collections.abc import Iterable, Iterator, Sequence

from benchmarks.tables.figures import COVERED_ROWS, Mean, Ranking, Results

OURS, BEST, RIVAL, SIMPLE = "default", "best", "CatBoost", "linear"
CLASSES = ("binary", "multiclass")
MEASURES = {
    "binary": ("auc", "accuracy", "log_loss", "ece"),
    "multiclass": ("accuracy", "auc", "log_loss", "ece"),
    "regression": ("r2", "rmse", "mae"),
}
NOT_WORSE_IN = {
    "binary": ("auc", "log_loss"),
    "multiclass": ("accuracy", "log_loss"),
    "regression": ("rmse",),
}
SHOWN = {"binary": "auc", "multiclass": "accuracy", "regression": "r2"}
NAMES = {
    "auc": "AUC",
    "r2": "R2",
    "rmse": "RMSE",
    "mae": "MAE",
    "ece": "ECE",
    "log_loss": "log loss",
}


def report(results: Results, timed: Results) -> str:
    """Return all parts; `timed` has the table of 10,000 rows to train on and 30 columns."""
    parts = [_scores(results), _list(_figures(results)), _list(_seconds(timed))]
    if (judged := results.of_role("judge")).tables:
        parts += ["On the tables that judge alone:", _list(_figures(judged))]
    return "\n\n".join([*parts, *(_details(results, table) for table in results.tables)])


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _scores(results: Results) -> str:
    """Return a table of the mean AUC, accuracy or R2; the best of a row is bold."""
    rows = []
    for name, table in results.tables.items():
        shown = SHOWN[table.task]
        means = [results.mean(name, contestant, shown) for contestant in results.contestants]
        best = max((round(mean, 3) for mean in means if mean is not None), default=None)
        cells = [
            "" if mean is None else _bold(f"{mean:.3f}", round(mean, 3) == best) for mean in means
        ]
        size = f"{table.rows:,} x {table.columns}"
        rows.append([name, table.role, size, NAMES.get(shown, shown), *cells])
    return _markdown(["table", "role", "rows x columns", "score", *results.contestants], rows)


def _bold(text: str, is_bold: bool) -> str:
    return f"**{text}**" if is_bold else text


def _figures(results: Results) -> Iterator[str]:
    """Yield a line for each figure that the outcomes suffice for."""
    num_seeds = _most_seeds(results)
    rivals = [name for name in results.contestants if name not in (BEST, "fast")]
    whole = [name for name in rivals if _seeds_of(results, name) == num_seeds]
    yield from _ranks(results.ranking(whole), "the contestants with all seeds")
    if whole != rivals:
        yield from _ranks(results.ranking(rivals), "all contestants, on the seeds of all of them")
    if BEST in results.contestants:
        yield from _ranks(
            results.ranking([BEST if name == OURS else name for name in whole]),
            f"the same with `{BEST}` for `{OURS}`",
        )
    ours = [name for name in (OURS, BEST) if name in results.contestants]
    for name in ours:
        wins, of = results.wins(name, RIVAL)
        if of:
            yield f"`{name}` wins against {RIVAL}: {wins:g} of {of} tables, ties count half"
    for name in ours:
        worse = results.worse(name, SIMPLE, NOT_WORSE_IN)
        yield f"`{name}` is worse than the linear model by more than a standard error: " + (
            "; ".join(f"{where} {_plus_minus(by)}" for where, by in worse.items()) or "nowhere"
        )
    of_classes = results.of_task(*CLASSES)
    for name in results.contestants:
        if (error := results.mean_over_tables(name, "ece", of_classes)) is not None:
            yield f"mean calibration error of {name}: {_plus_minus(error)}"
    if covered := results.coverage(OURS):
        lowest, highest = (choose(covered, key=covered.__getitem__) for choose in (min, max))
        yield (
            f"coverage of conformal sets at 90 % on {len(covered)} tables with at least "
            f"{COVERED_ROWS} held-out rows: {covered[lowest]:.3f} ({lowest}) to "
            f"{covered[highest]:.3f} ({highest})"
        )
    if shares := results.relative_errors(BEST, OURS):
        share, ratio = Mean.of(shares), results.time_ratio(BEST, OURS)
        yield (
            f"`{BEST}` has {100 * share.mean:.1f} +- {100 * share.error:.1f} % less error than "
            f"`{OURS}`, at {ratio:.1f} times the time"
        )


def _seconds(timed: Results) -> Iterator[str]:
    for name in timed.contestants:
        for table in timed.tables:
            if (seconds := timed.mean(table, name, "seconds")) is not None:
                yield f"seconds for 10,000 rows and 30 columns, {name}: {seconds:.1f}"


def _ranks(ranking: Ranking | None, among: str) -> Iterator[str]:
    if ranking is not None:
        ranks = ", ".join(f"{name} {rank:.2f}" for name, rank in ranking.ranks.items())
        yield (
            f"mean rank among {among} ({ranking.num_tables} tables, at least {ranking.num_seeds} "
            f"seeds; critical difference {ranking.critical:.2f}): {ranks}"
        )


def _seeds_of(results: Results, contestant: str) -> int:
    """Return how many seeds a contestant has on each table."""
    return min(
        len(results.measured(table, contestant, results.primary(table))) for table in results.tables
    )


def _most_seeds(results: Results) -> int:
    return max((_seeds_of(results, name) for name in results.contestants), default=0)


def _plus_minus(value: Mean) -> str:
    return f"{value.mean:.4g} +- {value.error:.2g}"


def _details(results: Results, name: str) -> str:
    """Return every measure of every contestant on a table, and the seconds to fit."""
    table = results.tables[name]
    measures = (*MEASURES[table.task], "seconds")
    rows = []
    for contestant in results.contestants:
        means = [results.mean(name, contestant, measure) for measure in measures]
        if any(mean is not None for mean in means):
            rows.append([contestant, *("" if mean is None else f"{mean:.4g}" for mean in means)])
    title = f"### {name}: {table.rows:,} x {table.columns}, {table.source}, to {table.role}"
    return f"{title}\n\n{_markdown(['', *(NAMES.get(m, m) for m in measures)], rows)}"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
