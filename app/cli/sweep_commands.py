"""`dropout-service sweeps`: searches over configs, as a client of a service."""

import json
import sys
import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.cli.calling import ADDRESS, AsJson, Key, Service, Url, calling, print_json, read_body
from app.cli.terminal import say, warn

POLL_SECONDS = 1.0
OVER = ("succeeded", "failed", "cancelled")
NUM_SHOWN = 20  # trials of a table, by default

State = Literal["running", "paused", "succeeded", "failed", "cancelled"]
SweepId = Annotated[str, typer.Argument(metavar="ID", help="The id of the sweep: swp_...")]

cli = typer.Typer(
    no_args_is_help=True, help="Search over configs: start, watch, pause and cancel sweeps."
)


@cli.command()
def create(
    file: Annotated[
        str, typer.Argument(help="The body of POST /v1/sweeps as JSON; `-` for standard input.")
    ],
    *,
    follow: Annotated[bool, typer.Option(help="Show the progress, up to the winner.")] = False,
    check: Annotated[bool, typer.Option(help="Check it and estimate it; do not run it.")] = False,
    url: Url = ADDRESS,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Start a sweep and print its id."""
    body = read_body(file)
    with calling(url, key) as service:
        if check:
            plan = service.post("/v1/sweeps", body, validate_only=True)
            _show_plan(plan, as_json=as_json)
            return
        sweep = service.post("/v1/sweeps", body)
        if follow:
            _follow(service, sweep, as_json=as_json)
        elif as_json:
            print_json(sweep)
        else:
            say(sweep["id"])
        for warning in sweep["warnings"]:
            warn(warning)


@cli.command(name="list")
def list_sweeps(
    *,
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    name: Annotated[str | None, typer.Option(help="Only those of this name.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="The most to list.")] = 20,
    url: Url = ADDRESS,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List sweeps, newest first."""
    with calling(url, key) as service:
        page = service.get("/v1/sweeps", state=state, name=name, limit=limit)
    if as_json:
        print_json(page)
        return
    rows = [
        (
            *(sweep["id"], sweep["name"] or "", sweep["state"], _num_trials(sweep)),
            sweep["created_at"].replace("T", " ")[:19],
        )
        for sweep in page["data"]
    ]
    _print_table(("ID", "NAME", "STATE", "TRIALS", "CREATED (UTC)"), rows)


@cli.command()
def show(
    sweep_id: SweepId, *, url: Url = ADDRESS, key: Key = None, as_json: AsJson = False
) -> None:
    """Show a sweep: its progress, its rungs and its winner."""
    with calling(url, key) as service:
        _show(service.get(f"/v1/sweeps/{sweep_id}"), as_json=as_json)


@cli.command()
def trials(
    sweep_id: SweepId,
    *,
    order: Annotated[Literal["score", "number"], typer.Option(help="What comes first.")] = "score",
    limit: Annotated[int, typer.Option(min=1, max=100, help="The most to list.")] = NUM_SHOWN,
    after: Annotated[
        str | None, typer.Option(help="The number of the last trial that was listed before.")
    ] = None,
    url: Url = ADDRESS,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List the trials of a sweep, the best first."""
    with calling(url, key) as service:
        path = f"/v1/sweeps/{sweep_id}/trials"
        page = service.get(path, order=order, limit=limit, after=after)
    if as_json:
        print_json(page)
        return
    rows = [
        (
            *(str(trial["number"]), _state_of(trial), str(trial["epochs_completed"])),
            *(_mean_and_deviation(trial), _values(trial["values"])),
        )
        for trial in page["data"]
    ]
    _print_table(("TRIAL", "STATE", "EPOCHS", "SCORE", "VALUES"), rows)
    if page["has_more"]:
        say(f"... and more: --after {page['last_id']}")


@cli.command()
def follow(
    sweep_id: SweepId, *, url: Url = ADDRESS, key: Key = None, as_json: AsJson = False
) -> None:
    """Show the progress of a sweep as it happens, and its winner. Exit 1 unless it succeeds."""
    with calling(url, key) as service:
        _follow(service, service.get(f"/v1/sweeps/{sweep_id}"), as_json=as_json)


@cli.command()
def cancel(
    sweep_id: SweepId,
    *,
    keep_model: Annotated[
        bool, typer.Option("--keep-model", help="End with the best model so far.")
    ] = False,
    url: Url = ADDRESS,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Stop a sweep and all of its trials."""
    with calling(url, key) as service:
        answer = service.post(f"/v1/sweeps/{sweep_id}/cancel", {"keep_model": keep_model})
    _tell_state(answer, as_json=as_json)


@cli.command()
def pause(
    sweep_id: SweepId, *, url: Url = ADDRESS, key: Key = None, as_json: AsJson = False
) -> None:
    """Pause a sweep: its trials write checkpoints and free their workers."""
    with calling(url, key) as service:
        answer = service.post(f"/v1/sweeps/{sweep_id}/pause")
    _tell_state(answer, as_json=as_json)


@cli.command()
def resume(
    sweep_id: SweepId, *, url: Url = ADDRESS, key: Key = None, as_json: AsJson = False
) -> None:
    """Continue a paused sweep."""
    with calling(url, key) as service:
        answer = service.post(f"/v1/sweeps/{sweep_id}/resume")
    _tell_state(answer, as_json=as_json)


@cli.command()
def delete(sweep_id: SweepId, *, url: Url = ADDRESS, key: Key = None) -> None:
    """Delete a sweep that has ended, and its trials. Its models stay."""
    with calling(url, key) as service:
        service.delete(f"/v1/sweeps/{sweep_id}")
    say(f"{sweep_id} is deleted")


def _follow(service: Service, sweep: dict[str, Any], *, as_json: bool) -> None:
    path = f"/v1/sweeps/{sweep['id']}"
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[news]}"))
    if not as_json:
        say(f"following {sweep['id']}: Ctrl-C stops following, not the sweep")
    with Progress(
        *columns, TimeElapsedColumn(), console=console, disable=as_json or not console.is_terminal
    ) as progress:
        bar = progress.add_task("epochs", total=sweep["progress"]["epochs"], news="")
        after = 0
        while True:
            # The events after the sweep: none is missed of one that has ended.
            sweep = service.get(path)
            after = _tell_events(service, path, after, progress, as_json=as_json)
            _move(progress, bar, sweep)
            if sweep["state"] in OVER:
                break
            time.sleep(POLL_SECONDS)
    _show(sweep, as_json=as_json)
    if sweep["state"] != "succeeded":
        sys.exit(1)


def _tell_events(
    service: Service, path: str, after: int, progress: Progress, *, as_json: bool
) -> int:
    """Print the events above `after`, and return the number of the last one."""
    while True:
        page = service.get(f"{path}/events", after=after)
        for event in page["data"]:
            if not as_json:
                progress.console.print(_told(event), markup=False, highlight=False)
        after = page["last_id"] or after
        if not page["has_more"]:
            return after


def _move(progress: Progress, bar: TaskID, sweep: dict[str, Any]) -> None:
    states = {state: number for state, number in sweep["progress"]["trials"].items() if number}
    news = ", ".join(f"{number} {state}" for state, number in states.items())
    progress.update(bar, completed=sweep["progress"]["epochs_completed"], news=news)


def _told(event: dict[str, Any]) -> str:
    """Return an event as a line."""
    time_of_day = event["created_at"][11:19]
    data = ", ".join(f"{name} {_text(value)}" for name, value in event["data"].items())
    return f"{time_of_day}  {event['type']}" + (f": {data}" if data else "")


def _show_plan(plan: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(plan)
        return
    say(f"{plan['num_trials']} trials, {plan['num_jobs']} jobs")
    for rung in plan["rungs"]:
        say(f"  {_rung_name(rung)}: {rung['num_trials']} trials, {rung['epochs']} epochs")
    if plan["estimated_seconds"] is not None:
        say(f"about {plan['estimated_seconds']:.0f} s")
    for number, values in enumerate(plan["first_trials"]):
        say(f"  trial {number}: {_values(values)}")
    for warning in plan["warnings"]:
        warn(warning)


def _show(sweep: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(sweep)
        return
    reason = f" ({sweep['state_reason']})" if sweep["state_reason"] else ""
    say(f"{sweep['id']}  {sweep['name'] or ''}".rstrip())
    say(f"state     {sweep['state']}{reason}")
    if sweep["detail"]:
        say(f"detail    {sweep['detail']}")
    progress = sweep["progress"]
    say(f"trials    {_num_trials(sweep)}")
    say(f"epochs    {progress['epochs_completed']}")
    for rung in sweep["rungs"]:
        told = f"{len(rung['entered'])} entered, {len(rung['promoted'])} promoted"
        say(f"{_rung_name(rung):<9} at {rung['epochs']} epochs: {told}")
    for winner in sweep["winners"]:
        say(f"winner    trial {winner['number']}: {_values(winner['values'])}")
        say(f"          {_mean_and_deviation(winner)}")
        say(f"          model {winner['model'] or '(not yet)'}")
    for pointer, share in (sweep["importance"] or {}).items():
        say(f"{share:>8.0%}  {pointer}")


def _rung_name(rung: dict[str, Any]) -> str:
    return f"rung {rung['number']}" + (f" of bracket {rung['bracket']}" if rung["bracket"] else "")


def _num_trials(sweep: dict[str, Any]) -> str:
    states = sweep["progress"]["trials"]
    told = ", ".join(f"{number} {state}" for state, number in states.items() if number)
    return f"{sum(states.values())} ({told})" if told else "0"


def _state_of(trial: dict[str, Any]) -> str:
    is_stopped = trial["state"] == "cancelled"
    return (trial["state_reason"] if is_stopped else None) or str(trial["state"])


def _mean_and_deviation(trial: dict[str, Any]) -> str:
    told = [
        f"{score['metric']} {score['mean']:.4g}"
        + ("" if score["deviation"] is None else f" +- {score['deviation']:.2g}")
        for score in trial["scores"]
        if score["mean"] is not None
    ]
    return ", ".join(told) or "-"


def _values(values: dict[str, Any]) -> str:
    return "  ".join(f"{pointer}={_text(value)}" for pointer, value in values.items())


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def _print_table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print a table, whose lines are as long as they have to be where nobody looks at them."""
    console = Console(width=None if sys.stdout.isatty() else 10_000)
    table = Table(*heads, box=None, pad_edge=False, header_style="")
    for row in rows:
        table.add_row(*row)
    console.print(table, markup=False, highlight=False)


def _tell_state(sweep: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(sweep)
    else:
        say(f"{sweep['id']} is {sweep['state']}")
