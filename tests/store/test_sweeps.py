"""Sweeps in the store: decisions are applied once, and requests reach every trial."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection

from store import datasets, jobs, sweeps
from store.access.keys import DEFAULT_TENANT
from store.database.engine import Database
from store.errors import (
    DatasetInUse,
    IllegalSweepTransition,
    JobNotFound,
    SweepNotFound,
    TrialNeeded,
)
from store.jobs import Claim, RungResult
from store.sweeps import Changes, Sweep, TrialRow
from tests.support.concurrency import is_waiting, transaction
from tests.support.store_examples import TRAINED, claim, epoch, get_job, new_dataset, new_job, spec
from tests.support.stored_sweeps import LR, begun, new_sweep, new_trials, reach
from tests.support.waiting import wait_until

CLAIM: Any = {"owner": "me", "lease_seconds": 60, "num_threads": 1, "max_attempts": 3}


def read(connection: Connection, sweep: Sweep) -> Sweep:
    return sweeps.get(connection, sweep.id, tenant=DEFAULT_TENANT)


def states(connection: Connection, sweep: Sweep) -> list[str]:
    return [job.state for job in sweeps.jobs_of(connection, sweep.id)]


def test_a_decision_is_applied_once(connection: Connection) -> None:
    sweep = new_sweep(connection)
    assert sweeps.advance(connection, sweep, new_trials()) is not None
    assert sweeps.advance(connection, sweep, new_trials()) is None
    found = sweeps.jobs_of(connection, sweep.id)
    assert [(job.trial, job.repeat, job.rung, job.pause_after) for job in found] == [
        (0, 0, 0, 2),
        (1, 0, 0, 2),
    ]
    assert [event.type for event in sweeps.event_page(connection, sweep.id, after=0, limit=9)] == [
        "running",
        "trials",
    ]
    assert sweeps.trials_of(connection, sweep.id)[1] == TrialRow(1, 0, {LR: 0.1})


def test_a_trial_pauses_at_its_rung_with_its_result(connection: Connection) -> None:
    sweep = begun(connection)
    job = reach(connection, sweeps.jobs_of(connection, sweep.id)[0], 0.5)
    assert (job.state, job.state_reason, job.owner) == ("paused", "rung", None)
    (result,) = sweeps.results_of(connection, sweep.id)
    assert (result.trial, result.rung, result.values) == (0, 0, [0.5])
    assert claim(connection, job.id) is None


def test_the_promoted_go_on_and_the_others_end(connection: Connection) -> None:
    sweep = begun(connection)
    for job in sweeps.jobs_of(connection, sweep.id):
        reach(connection, job, 0.5)
    sweep = read(connection, sweep)
    changes = Changes(promoted={(1, 0): (1, 8)}, stopped={0: "pruned"})
    assert sweeps.advance(connection, sweep, changes) is not None
    pruned, promoted = sweeps.jobs_of(connection, sweep.id)
    assert (pruned.state, pruned.state_reason) == ("cancelled", "pruned")
    assert (promoted.state, promoted.rung, promoted.pause_after) == ("queued", 1, 8)
    assert claim(connection, promoted.id) is not None


def test_the_winner_is_completed_and_the_sweep_ends_with_it(connection: Connection) -> None:
    sweep = begun(connection, repeats=2)
    for job in sweeps.jobs_of(connection, sweep.id):
        reach(connection, job, 0.5)
    changed = sweeps.advance(
        connection, read(connection, sweep), Changes(winners=[1], stopped={0: "not_chosen"})
    )
    assert changed is not None
    assert states(connection, sweep) == ["cancelled", "cancelled", "queued", "cancelled"]
    winner = sweeps.jobs_of(connection, sweep.id)[2]
    assert (winner.rung, winner.pause_after) == (None, None)
    claimed = claim(connection, winner.id)
    assert claimed is not None
    jobs.succeed(connection, Claim(winner.id, claimed.attempt), reason="completed", trained=TRAINED)
    end = Changes(end=("succeeded", "completed", None))
    ended = sweeps.advance(connection, changed, end)
    assert ended is not None
    assert (ended.state, ended.winners) == ("succeeded", [1])
    assert ended.finished_at is not None
    assert sweeps.winning_jobs(connection, [sweep.id]) == {sweep.id: winner.id}


def test_a_job_that_is_tuned_ends_as_its_sweep_does(connection: Connection) -> None:
    sweep = new_sweep(connection)
    tuned = jobs.create(connection, spec(), tenant=DEFAULT_TENANT, queue="cpu", tuned_by=sweep.id)
    assert (tuned.state, tuned.step) == ("running", "tuning")
    assert claim(connection, tuned.id) is None
    jobs.reap(connection, lease_seconds=60, max_attempts=3, backoff_seconds=1)
    assert get_job(connection, tuned.id).state == "running"
    sweeps.advance(connection, sweep, Changes(end=("failed", "no_trial_succeeded", "why")))
    ended = get_job(connection, tuned.id)
    assert (ended.state, ended.state_reason, ended.detail) == (
        "failed",
        "no_trial_succeeded",
        "why",
    )


def test_a_stack_is_claimed_together(connection: Connection) -> None:
    sweep = begun(connection, 5, stack="a")
    first, *others = sweeps.jobs_of(connection, sweep.id)
    other_sweep = begun(connection, 1, stack="a")
    claimed = jobs.claim_stack(connection, first.id, max_members=3, **CLAIM)
    assert [job.trial for job in claimed] == [0, 1, 2]
    assert {job.sweep_id for job in claimed} == {sweep.id}
    assert [job.attempt for job in claimed] == [1, 1, 1]
    assert jobs.claim_stack(connection, others[0].id, max_members=3, **CLAIM) == []
    (alone,) = jobs.claim_stack(
        connection, sweeps.jobs_of(connection, other_sweep.id)[0].id, max_members=3, **CLAIM
    )
    assert alone.sweep_id == other_sweep.id


def test_workers_divide_the_trials_of_a_stack(connection: Connection) -> None:
    sweep = begun(connection, 21, stack="a")
    found = sweeps.jobs_of(connection, sweep.id)
    claim_stack = partial(jobs.claim_stack, connection, max_members=64, num_workers=2, **CLAIM)
    assert [job.trial for job in claim_stack(found[0].id)] == list(range(11))
    assert [job.trial for job in claim_stack(found[11].id)] == list(range(11, 21))


def test_a_few_trials_are_not_worth_a_process_each(connection: Connection) -> None:
    first, *_ = sweeps.jobs_of(connection, begun(connection, 4, stack="a").id)
    claimed = jobs.claim_stack(connection, first.id, max_members=64, num_workers=4, **CLAIM)
    assert len(claimed) == 4


def test_a_sweep_runs_no_more_trials_than_it_allows(connection: Connection) -> None:
    sweep = begun(connection, 4, stack="a", search={"max_parallel": 2})
    found = sweeps.jobs_of(connection, sweep.id)
    claimed = jobs.claim_stack(connection, found[0].id, max_members=9, **CLAIM)
    assert [job.trial for job in claimed] == [0, 1]
    assert jobs.claimable(connection, limit=9) == []
    assert claim(connection, found[2].id) is None
    jobs.release(connection, Claim(found[0].id, 1))
    assert claim(connection, found[2].id) is not None


def test_other_jobs_come_before_trials(connection: Connection) -> None:
    sweep = begun(connection)
    job = new_job(connection)
    trial_ids = [trial.id for trial in sweeps.jobs_of(connection, sweep.id)]
    assert jobs.claimable(connection, limit=9, max_running=9) == [job.id, *trial_ids]


def test_a_paused_sweep_holds_no_worker_and_goes_on(connection: Connection) -> None:
    sweep = begun(connection, 3)
    running, waiting, done = sweeps.jobs_of(connection, sweep.id)
    reach(connection, done, 0.5)
    claimed = claim(connection, running.id)
    assert claimed is not None
    for _ in range(2):
        assert sweeps.pause(connection, sweep.id, tenant=DEFAULT_TENANT).state == "paused"
    assert get_job(connection, running.id).pause_requested
    stopped = jobs.release(connection, Claim(running.id, claimed.attempt))
    assert (stopped.state, stopped.state_reason) == ("paused", "sweep")
    assert jobs.claimable(connection, limit=9) == []
    assert sweeps.advance(connection, read(connection, sweep), Changes(winners=[0])) is None
    for _ in range(2):
        assert sweeps.resume(connection, sweep.id, tenant=DEFAULT_TENANT).state == "running"
    assert jobs.claimable(connection, limit=9) == [running.id, waiting.id]
    assert get_job(connection, done.id).state_reason == "rung"


def test_a_cancelled_sweep_stops_every_trial(connection: Connection) -> None:
    sweep = begun(connection, 3)
    running, _, done = sweeps.jobs_of(connection, sweep.id)
    reach(connection, done, 0.5)
    assert claim(connection, running.id) is not None
    for _ in range(2):
        assert sweeps.cancel(connection, sweep.id, tenant=DEFAULT_TENANT).state == "cancelled"
    assert states(connection, sweep) == ["cancelling", "cancelled", "cancelled"]
    assert sweeps.advance(connection, read(connection, sweep), Changes(winners=[2])) is None
    with pytest.raises(IllegalSweepTransition, match="still stopping its trials"):
        sweeps.remove(connection, sweep.id, tenant=DEFAULT_TENANT)
    with pytest.raises(IllegalSweepTransition, match="is cancelled: it cannot be resumed"):
        sweeps.resume(connection, sweep.id, tenant=DEFAULT_TENANT)
    assert jobs.cancelled(connection, Claim(running.id, 1)).state == "cancelled"
    sweeps.remove(connection, sweep.id, tenant=DEFAULT_TENANT)
    with pytest.raises(SweepNotFound):
        read(connection, sweep)
    with pytest.raises(JobNotFound):
        get_job(connection, running.id)


@pytest.mark.parametrize(
    ("ask", "states_then"),
    [
        (sweeps.cancel, ["cancelled", "cancelled"]),
        (sweeps.pause, ["paused", "paused"]),
        (sweeps.resume, ["queued", "queued"]),
    ],
)
def test_a_trial_that_changes_hands_meanwhile_is_not_missed(
    postgresql_url: str, ask: Callable[..., Sweep], states_then: list[str]
) -> None:
    with closing(Database(postgresql_url)) as database, ThreadPoolExecutor(1) as pool:
        with database.write() as connection:
            sweep = begun(connection)
            job, _ = sweeps.jobs_of(connection, sweep.id)
            assert claim(connection, job.id) is not None
            if ask is sweeps.resume:
                sweeps.pause(connection, sweep.id, tenant=DEFAULT_TENANT)
        with database.write() as connection:
            if ask is sweeps.cancel:
                jobs.reached(connection, Claim(job.id, 1), RungResult(2, [0.5], False))
            else:
                jobs.release(connection, Claim(job.id, 1))
            asked = transaction(database, ask, sweep.id, tenant=DEFAULT_TENANT)
            answer = pool.submit(asked)
            wait_until(lambda: answer.done() or is_waiting(database))
        answer.result()
        with database.read() as connection:
            assert states(connection, sweep) == states_then


def test_the_best_so_far_is_asked_for_once(connection: Connection) -> None:
    sweep = begun(connection)
    for _ in range(2):
        changed = sweeps.exhaust(connection, sweep.id, tenant=DEFAULT_TENANT)
        assert changed.is_exhausted
    assert changed.num_events == sweep.num_events + 1
    # A decision that did not know of it is not applied.
    assert sweeps.advance(connection, sweep, Changes(promoted={(0, 0): (1, 8)})) is None


def test_a_running_trial_that_is_pruned_says_so(connection: Connection) -> None:
    sweep = begun(connection)
    job, _ = sweeps.jobs_of(connection, sweep.id)
    assert claim(connection, job.id) is not None
    sweeps.advance(connection, sweep, Changes(stopped={0: "pruned"}))
    assert get_job(connection, job.id).state == "cancelling"
    ended = jobs.reached(connection, Claim(job.id, 1), RungResult(2, [0.5], False))
    assert (ended.state, ended.state_reason) == ("cancelled", "pruned")
    assert sweeps.results_of(connection, sweep.id) == []


def test_a_trial_belongs_to_its_sweep(connection: Connection) -> None:
    sweep = begun(connection)
    job, _ = sweeps.jobs_of(connection, sweep.id)
    for refused in (jobs.pause, jobs.resume, jobs.remove):
        if refused is jobs.remove:
            jobs.cancel(connection, job.id, tenant=DEFAULT_TENANT)
        with pytest.raises(TrialNeeded, match=sweep.id):
            refused(connection, job.id, tenant=DEFAULT_TENANT)
    sweeps.cancel(connection, sweep.id, tenant=DEFAULT_TENANT)
    with pytest.raises(TrialNeeded):
        jobs.remove(connection, job.id, tenant=DEFAULT_TENANT)


def test_a_dataset_stays_while_a_sweep_needs_it(connection: Connection) -> None:
    dataset = new_dataset(connection)
    sweep = new_sweep(connection, dataset_id=dataset.id)
    with pytest.raises(DatasetInUse, match=sweep.id):
        datasets.remove(connection, dataset.id, tenant=DEFAULT_TENANT)
    sweeps.cancel(connection, sweep.id, tenant=DEFAULT_TENANT)
    datasets.remove(connection, dataset.id, tenant=DEFAULT_TENANT)


def test_epochs_of_many_trials_are_recorded_at_once(connection: Connection) -> None:
    sweep = begun(connection, 3)
    found = sweeps.jobs_of(connection, sweep.id)
    for job in found:
        assert claim(connection, job.id) is not None
    mine = [Claim(job.id, 1) for job in found]
    stale = Claim(found[2].id, 0)
    assert jobs.record_all(connection, [(claim_, epoch(1)) for claim_ in mine]) == set()
    again = [(mine[0], epoch(2)), (mine[1], epoch(1)), (stale, epoch(2))]
    assert jobs.record_all(connection, again) == {stale}
    done = [get_job(connection, job.id) for job in found]
    assert [(job.epochs_completed, job.num_events) for job in done] == [(2, 4), (1, 3), (1, 3)]
