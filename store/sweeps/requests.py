"""What a user asks of a sweep: to cancel it, to pause it, to resume it, to take the best so far."""

from typing import Any

from sqlalchemy import Connection, select, update

from store.database.tables import database_now, jobs
from store.errors import IllegalSweepTransition
from store.jobs import transitions
from store.sweeps.rows import Sweep, change, get, winning_jobs


def cancel(connection: Connection, sweep_id: str, *, tenant: str) -> Sweep:
    """End the sweep without a winner, and ask its trials to stop; a second call changes nothing.

    Raises SweepNotFound, and IllegalSweepTransition if the sweep has ended otherwise.
    """
    get(connection, sweep_id, tenant=tenant)
    sweep = _end(connection, sweep_id, "cancelled", "cancelled_by_user")
    return sweep or _unless_it_is(connection, sweep_id, "cancelled", tenant=tenant)


def fail(connection: Connection, sweep_id: str, *, reason: str, detail: str) -> Sweep | None:
    """End a sweep that nobody can drive on, and its trials; None if it has ended already."""
    return _end(connection, sweep_id, "failed", reason, detail)


def _end(
    connection: Connection, sweep_id: str, state: str, reason: str, detail: str | None = None
) -> Sweep | None:
    values = {"state": state, "state_reason": reason, "detail": detail}
    event = (state, {"reason": reason} | ({} if detail is None else {"detail": detail}))
    ended = values | {"finished_at": database_now()}
    sweep = change(connection, sweep_id, ended, states=("running", "paused"), new_events=[event])
    if sweep is not None:
        trials = (jobs.c.sweep_id == sweep_id) & jobs.c.trial.is_not(None)
        transitions.stop_all(connection, trials, reason=reason)
        end_tuned(connection, sweep)
    return sweep


def exhaust(connection: Connection, sweep_id: str, *, tenant: str) -> Sweep:
    """Ask for the best of the results so far: no trial is created or promoted any more.

    A sweep that is paused goes on. Raises SweepNotFound, and IllegalSweepTransition if the sweep
    has ended.
    """
    sweep = get(connection, sweep_id, tenant=tenant)
    if sweep.state == "paused":
        resume(connection, sweep_id, tenant=tenant)
    if sweep.is_exhausted and sweep.state == "running":
        return sweep
    event: tuple[str, dict[str, Any]] = ("exhausted", {"by": "user"})
    # A decision that was made before must not be applied.
    values = {"is_exhausted": True, "round": sweep.round + 1}
    changed = change(connection, sweep_id, values, states=("running",), new_events=[event])
    if changed is None:
        raise IllegalSweepTransition(sweep_id, sweep.state, "ended with the best so far")
    return changed


def pause(connection: Connection, sweep_id: str, *, tenant: str) -> Sweep:
    """Let the sweep's trials wait until it is resumed; a second call changes nothing.

    Those that run write a checkpoint first. Raises SweepNotFound, and IllegalSweepTransition if the
    sweep has ended.
    """
    get(connection, sweep_id, tenant=tenant)
    event: tuple[str, dict[str, Any]] = ("paused", {})
    sweep = change(
        connection, sweep_id, {"state": "paused"}, states=("running",), new_events=[event]
    )
    if sweep is None:
        return _unless_it_is(connection, sweep_id, "paused", tenant=tenant)
    transitions.pause_all(connection, (jobs.c.sweep_id == sweep_id) & jobs.c.trial.is_not(None))
    return sweep


def resume(connection: Connection, sweep_id: str, *, tenant: str) -> Sweep:
    """Let a paused sweep go on; a second call changes nothing.

    Raises SweepNotFound, and IllegalSweepTransition if the sweep has ended.
    """
    get(connection, sweep_id, tenant=tenant)
    event: tuple[str, dict[str, Any]] = ("running", {})
    sweep = change(
        connection, sweep_id, {"state": "running"}, states=("paused",), new_events=[event]
    )
    if sweep is None:
        return _unless_it_is(connection, sweep_id, "running", tenant=tenant)
    transitions.resume_all(connection, (jobs.c.sweep_id == sweep_id) & jobs.c.trial.is_not(None))
    return sweep


def end_tuned(connection: Connection, sweep: Sweep) -> None:
    """End the job that was submitted with `tune`, if there is one, as its sweep has ended.

    It has the epochs of the winner.
    """
    waits = (jobs.c.sweep_id == sweep.id) & jobs.c.trial.is_(None) & (jobs.c.state == "running")
    if (winner := winning_jobs(connection, [sweep.id]).get(sweep.id)) is not None:
        epochs = connection.execute(select(jobs.c.epochs_completed).where(jobs.c.id == winner))
        connection.execute(update(jobs).where(waits).values(epochs_completed=epochs.scalar_one()))
    reason = sweep.state_reason or "completed"
    transitions.end_all(connection, waits, sweep.state, reason, detail=sweep.detail)


def _unless_it_is(connection: Connection, sweep_id: str, state: str, *, tenant: str) -> Sweep:
    """Return the sweep if it is in the state already. Raises IllegalSweepTransition."""
    sweep = get(connection, sweep_id, tenant=tenant)
    if sweep.state != state:
        raise IllegalSweepTransition(
            sweep_id, sweep.state, "resumed" if state == "running" else state
        )
    return sweep
