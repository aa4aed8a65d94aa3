"""`dropout-service sweeps`: searches over configs, as a client of a service."""

import json
import re
import sys
import time
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from app.cli.calling import ADDRESS, AsJson, Key, Service, Url, calling, print_json, read_body
from app.cli.terminal import say, say_table, warn
from store import ids

POLL_SECONDS = 1.0
OVER = ("succeeded", "failed", "cancelled")
NUM_SHOWN = 20  # trials of a table, by default

State = Literal["running", "paused", "succeeded", "failed", "cancelled"]


def _of_sweep(text: str) -> str:
    if not re.match(ids.pattern("swp"), text):  # or it would be a part of another address
        raise typer.BadParameter(f"{text!r} is not the id of a sweep: swp_...")
    return text


SweepId = Annotated[
    str, typer.Argument(metavar="ID", callback=_of_sweep, help="The id of the sweep: swp_...")
]

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
    say_table(("ID", "NAME", "STATE", "TRIALS", "CREATED (UTC)"), rows)


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
            *(str(trial["number"]), trial["state"], str(trial["epochs_completed"])),
            *(_scores(trial), _values(trial["values"])),
        )
        for trial in page["data"]
    ]
    say_table(("TRIAL", "STATE", "EPOCHS", "SCORE", "VALUES"), rows)
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
                progress.console.print(_told(event), markup=False, highlight=False, soft_wrap=True)
        after = page["last_id"] or after
        if not page["has_more"]:
            return after


def _move(progress: Progress, bar: TaskID, sweep: dict[str, Any]) -> None:
    states = {state: number for state, number in sweep["progress"]["trials"].items() if number}
    news = ", ".join(f"{number} {state}" for state, number in states.items())
    progress.update(bar, completed=sweep["progress"]["epochs_completed"], news=news)


def _told(event: dict[str, Any]) -> str:
    """Return an event as a line."""
    data, time_of_day = event["data"], event["created_at"][11:19]
    match event["type"]:
        case "trials":
            told = f"trials {data['first']} to {data['last']} are queued"
        case "rung":
            promoted = ", ".join(map(str, data["promoted"]))
            told = f"{_rung_name(data)} is full: {_counted(data['entered'], 'trial')}"
            told += f" at {_counted(data['epochs'], 'epoch')}"
            told += f"; {promoted} go on" if promoted else ""
        case "winner":
            told = f"trial {', '.join(map(str, data['trials']))} wins and is completed"
        case "exhausted":
            told = "the best so far is taken"
        case state:
            told = f"{state}: {data['detail']}" if data.get("detail") else state
    return f"{time_of_day}  {told}"


def _show_plan(plan: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(plan)
        return
    say(f"{_counted(plan['num_trials'], 'trial')}, {_counted(plan['num_jobs'], 'job')}")
    has_brackets = any(rung["bracket"] for rung in plan["rungs"])
    for rung in plan["rungs"]:
        name = _rung_name(rung, has_brackets=has_brackets)
        num_trials = _counted(rung["num_trials"], "trial")
        say(f"  {name}: {num_trials} at {_counted(rung['epochs'], 'epoch')}")
    if plan["estimated_seconds"] is not None:
        say(f"about {plan['estimated_seconds']:.2g} s of training")
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
    say(f"trials    {_num_trials(sweep)}")
    say(f"epochs    {sweep['progress']['epochs_completed']}")
    has_brackets = any(rung["bracket"] for rung in sweep["rungs"])
    for rung in sweep["rungs"]:
        told = f"{_counted(len(rung['entered']), 'trial')} at {_counted(rung['epochs'], 'epoch')}"
        promoted = f", {len(rung['promoted'])} promoted" if rung["promoted"] else ""
        say(f"{_rung_name(rung, has_brackets=has_brackets):<9} {told}{promoted}")
    winners = sweep["pareto_front"] or [sweep["winner"]]
    for winner in filter(None, winners):
        say(f"winner    trial {winner['number']}: {_scores(winner)}")
        for pointer, value in winner["values"].items():
            say(f"          {pointer} = {_text(value)}")
        say(f"model     {winner['model'] or 'not yet'}")
    for pointer, share in sorted((sweep["importance"] or {}).items(), key=lambda pair: -pair[1]):
        say(f"{share:>7.0%}   {pointer}")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _rung_name(rung: dict[str, Any], *, has_brackets: bool = False) -> str:
    number = rung["number"] if "number" in rung else rung["rung"]
    of_bracket = f" of bracket {rung['bracket']}" if rung["bracket"] or has_brackets else ""
    return f"rung {number}{of_bracket}"


def _num_trials(sweep: dict[str, Any]) -> str:
    states = sweep["progress"]["trials"]
    told = ", ".join(f"{number} {state}" for state, number in states.items() if number)
    return f"{sum(states.values())} ({told})" if told else "0"


def _scores(trial: dict[str, Any]) -> str:
    told = [
        f"{metric} {score['mean']:.4g}"
        + ("" if score["deviation"] is None else f" +- {score['deviation']:.2g}")
        for metric, score in (trial["scores"] or {}).items()
    ]
    return ", ".join(told) or "no score"


def _values(values: dict[str, Any]) -> str:
    return "  ".join(f"{pointer}={_text(value)}" for pointer, value in values.items())


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def _tell_state(sweep: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(sweep)
    else:
        say(f"{sweep['id']} is {sweep['state']}")
