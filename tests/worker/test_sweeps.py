"""Drive sweeps: what follows from results is applied once, whoever drives, and when."""

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import update

from store import jobs, sweeps
from store.access.keys import DEFAULT_TENANT
from store.database.tables import sweeps as sweeps_table
from store.jobs import Claim, Job, RungResult
from tests.support.store_examples import TRAINED
from tests.support.worker_sweeps import (
    LR,
    RATES,
    due,
    get_sweep,
    new_sweep,
    outcome,
    trials_of,
)
from worker.attempt import Worker
from worker.supervisor import FAULT_SECONDS, Fault, drive
from worker.sweeps import advance


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


def claim(worker: Worker, job_id: str) -> Job:
    options: Any = {"owner": "me", "lease_seconds": 60, "num_threads": 1, "max_attempts": 5}
    with worker.database.write() as transaction:
        job = jobs.claim(transaction, job_id, **options)
    assert job is not None
    return job


def reach(worker: Worker, job_id: str, *, is_finished: bool = False) -> None:
    """Let a trial reach its rung: the third learning rate is the best."""
    job = claim(worker, job_id)
    loss = abs(RATES[job.trial or 0] - RATES[2])
    result = RungResult(job.pause_after or 0, [loss], is_finished)
    with worker.database.write() as transaction:
        jobs.reached(transaction, Claim(job.id, job.attempt), result)


def finish(worker: Worker, job_id: str) -> None:
    job = claim(worker, job_id)
    assert job.pause_after is None
    with worker.database.write() as transaction:
        mine = Claim(job.id, job.attempt)
        jobs.succeed(transaction, mine, reason="completed", trained=TRAINED)


def states(worker: Worker, sweep_id: str) -> list[tuple[str, str | None]]:
    return [(job.state, job.state_reason) for job in trials_of(worker, sweep_id)]


def run_without_training(
    worker: Worker, sweep_id: str, *, chance: random.Random, often: bool
) -> None:
    """Run a sweep whose trials reach their rungs in any order; drive it after each, or at ends."""
    advance(sweep_id, worker.database)
    while waiting := due(worker):
        chance.shuffle(waiting)
        for job_id in waiting:
            if any(job.id == job_id and job.rung is None for job in trials_of(worker, sweep_id)):
                finish(worker, job_id)
            else:
                reach(worker, job_id)
            if often:
                advance(sweep_id, worker.database)
        advance(sweep_id, worker.database)


def test_the_order_of_results_decides_nothing(worker: Worker) -> None:
    found = []
    for seed in range(3):
        sweep_id = new_sweep(worker)
        chance = random.Random(seed)
        run_without_training(worker, sweep_id, chance=chance, often=bool(seed % 2))
        found.append(outcome(worker, sweep_id))

    assert found[0] == found[1] == found[2]
    assert (found[0].state, found[0].winners) == ("succeeded", [2])
    assert [data["promoted"] for kind, data in found[0].events if kind == "rung"] == [
        [2, 1],  # of six trials the best third
        [2],
        [],
    ]


def test_a_trial_is_its_job_with_other_values(worker: Worker) -> None:
    sweep_id = new_sweep(worker, repeats=2)
    advance(sweep_id, worker.database)
    found = trials_of(worker, sweep_id)

    assert [(job.trial, job.repeat) for job in found] == [(t, r) for t in range(6) for r in (0, 1)]
    assert [job.spec["training"]["seed"] for job in found[:2]] == [7, 8]
    assert [job.spec["training"]["optimizer"]["lr"] for job in found[::2]] == list(RATES)
    assert all(job.spec["training"]["stacked"] for job in found)
    assert len({job.stack for job in found}) == 1
    assert found[0].stack is not None
    assert {(job.rung, job.pause_after) for job in found} == {(0, 1)}


def test_of_drivers_at_once_one_is_heard(worker: Worker) -> None:
    sweep_id = new_sweep(worker)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: advance(sweep_id, worker.database), range(4)))
    assert (get_sweep(worker, sweep_id).round, len(trials_of(worker, sweep_id))) == (1, 6)

    for job_id in due(worker):
        reach(worker, job_id)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: advance(sweep_id, worker.database), range(4)))
    assert get_sweep(worker, sweep_id).round == 2
    assert len(due(worker)) == 2


def test_a_driver_that_dies_leaves_all_or_nothing(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep_id = new_sweep(worker)
    advance(sweep_id, worker.database)
    for job_id in due(worker):
        reach(worker, job_id)
    before = states(worker, sweep_id)
    for step in ("queue_all", "stop_all"):  # what the transaction does after its first statements
        with monkeypatch.context() as patch:
            patch.setattr(f"store.jobs.transitions.{step}", _die)
            with pytest.raises(ZeroDivisionError):
                advance(sweep_id, worker.database)
        assert states(worker, sweep_id) == before

    assert len(advance(sweep_id, worker.database)) == 4  # the jobs of the pruned
    assert states(worker, sweep_id).count(("cancelled", "pruned")) == 4
    assert advance(sweep_id, worker.database) == []


def _die(*_: Any, **__: Any) -> None:
    raise ZeroDivisionError


def test_trials_that_fail_or_are_cancelled_rank_last(worker: Worker) -> None:
    sweep_id = new_sweep(worker, rates=RATES[:3], pruner="none")
    advance(sweep_id, worker.database)
    first, second, third = due(worker)
    failing = claim(worker, first)
    with worker.database.write() as transaction:
        mine = Claim(failing.id, failing.attempt)
        jobs.fail(transaction, mine, reason="diverged", detail="the loss became nan in epoch 2")
        jobs.cancel(transaction, third, tenant=DEFAULT_TENANT)
    advance(sweep_id, worker.database)
    assert get_sweep(worker, sweep_id).winners is None
    reach(worker, second, is_finished=True)
    advance(sweep_id, worker.database)

    sweep = get_sweep(worker, sweep_id)
    assert (sweep.state, sweep.winners) == ("running", [1])
    assert due(worker) == [second]
    failed = [row for row in outcome(worker, sweep_id).results if row.values is None]
    assert [row.detail for row in failed] == [
        "the loss became nan in epoch 2",
        "cancelled_by_user",
    ]
    finish(worker, second)
    advance(sweep_id, worker.database)
    assert get_sweep(worker, sweep_id).state == "succeeded"


@pytest.mark.parametrize(
    "when", ["before its rung is decided", "when it is promoted", "over early"]
)
def test_a_trial_that_is_cancelled_at_its_rung_ranks_last(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    sweep_id = new_sweep(worker)
    advance(sweep_id, worker.database)
    *others, last = trials = due(worker)
    for number, job_id in enumerate(others):
        reach(worker, job_id, is_finished=number == 2 and when == "over early")

    def cancel_best() -> None:
        with worker.database.write() as transaction:
            jobs.cancel(transaction, trials[2], tenant=DEFAULT_TENANT)

    if when == "before its rung is decided":
        cancel_best()
        reach(worker, last)
        advance(sweep_id, worker.database)
    elif when == "over early":
        reach(worker, last)
        advance(sweep_id, worker.database)
        cancel_best()
    else:
        reach(worker, last)
        apply = sweeps.advance

        def cancel_and_apply(*arguments: Any) -> Any:
            monkeypatch.setattr(sweeps, "advance", apply)
            jobs.cancel(arguments[0], trials[2], tenant=DEFAULT_TENANT)
            return apply(*arguments)

        monkeypatch.setattr(sweeps, "advance", cancel_and_apply)
        advance(sweep_id, worker.database)
    while get_sweep(worker, sweep_id).winners is None:
        for job_id in due(worker):
            reach(worker, job_id)
        advance(sweep_id, worker.database)

    assert get_sweep(worker, sweep_id).winners == [1]
    assert due(worker) == [trials[1]]
    finish(worker, trials[1])
    advance(sweep_id, worker.database)
    assert get_sweep(worker, sweep_id).state == "succeeded"


def test_a_sweep_without_a_result_has_failed(worker: Worker) -> None:
    sweep_id = new_sweep(worker, rates=RATES[:2], pruner="none")
    advance(sweep_id, worker.database)
    with worker.database.write() as transaction:
        for job_id in due(worker):
            jobs.cancel(transaction, job_id, tenant=DEFAULT_TENANT)
    advance(sweep_id, worker.database)

    sweep = get_sweep(worker, sweep_id)
    assert (sweep.state, sweep.state_reason) == ("failed", "no_winner")
    assert sweep.detail == "every trial has failed; trial 0: cancelled_by_user"


@pytest.mark.parametrize("num_reached", [0, 1])
def test_a_sweep_that_ends_before_its_first_score_tells_so(
    worker: Worker, num_reached: int
) -> None:
    sweep_id = new_sweep(worker, repeats=2)
    advance(sweep_id, worker.database)
    for job_id in due(worker)[:num_reached]:
        reach(worker, job_id)  # the other repeat of its trial has no result
    with worker.database.write() as transaction:
        sweeps.exhaust(transaction, sweep_id, tenant=DEFAULT_TENANT)
    advance(sweep_id, worker.database)

    sweep = get_sweep(worker, sweep_id)
    assert (sweep.state, sweep.state_reason) == ("failed", "no_winner")
    assert sweep.detail == "the sweep was to end with the best so far before a trial had a score"


def test_a_trial_whose_training_is_over_does_not_run_again(worker: Worker) -> None:
    sweep_id = new_sweep(worker)
    advance(sweep_id, worker.database)
    for number, job_id in enumerate(due(worker)):
        reach(worker, job_id, is_finished=number == 2)
    advance(sweep_id, worker.database)

    by_id = {job.id: job for job in trials_of(worker, sweep_id)}
    assert [by_id[job_id].trial for job_id in due(worker)] == [1]
    reach(worker, *due(worker))
    advance(sweep_id, worker.database)  # the second rung is full, and the third needs no training
    assert get_sweep(worker, sweep_id).winners == [2]
    assert [by_id[job_id].trial for job_id in due(worker)] == [2]  # to be completed


@pytest.mark.parametrize("by", ["the user", "time"])
def test_the_best_so_far_is_completed(worker: Worker, by: str) -> None:
    budget = {"seconds": 1e-9 if by == "time" else None}
    sweep_id = new_sweep(worker)
    advance(sweep_id, worker.database)
    for job_id in due(worker):
        reach(worker, job_id)
    advance(sweep_id, worker.database)
    running = claim(worker, due(worker)[0])
    if by == "time":
        _set_budget(worker, sweep_id, budget)
    else:
        with worker.database.write() as transaction:
            sweeps.exhaust(transaction, sweep_id, tenant=DEFAULT_TENANT)
    with worker.database.read() as transaction:
        assert sweeps.undriven(transaction) == [sweep_id]
    advance(sweep_id, worker.database)

    assert get_sweep(worker, sweep_id).winners == [2]
    assert running.trial == 1
    assert ("cancelling", "not_chosen") in states(worker, sweep_id)
    finish(worker, *due(worker))
    advance(sweep_id, worker.database)
    told = [data for kind, data in outcome(worker, sweep_id).events if kind == "exhausted"]
    assert told == [{"by": "time" if by == "time" else "user"}]
    assert get_sweep(worker, sweep_id).state == "succeeded"


def _set_budget(worker: Worker, sweep_id: str, budget: dict[str, Any]) -> None:
    spec = get_sweep(worker, sweep_id).spec
    with worker.database.write() as transaction:
        changed = {**spec, "budget": {**spec["budget"], **budget}}
        transaction.execute(update(sweeps_table).values(spec=changed))


def test_a_config_that_cannot_be_ranks_last(worker: Worker) -> None:
    space = {"/model/hidden": {"choice": [[4], [0]]}}
    sweep_id = new_sweep(worker, space=space, pruner="none")
    advance(sweep_id, worker.database)

    [good] = trials_of(worker, sweep_id)
    reach(worker, good.id, is_finished=True)
    advance(sweep_id, worker.database)
    assert get_sweep(worker, sweep_id).winners == [0]
    [result] = [row for row in outcome(worker, sweep_id).results if row.values is None]
    assert result.trial == 1
    assert "greater than" in (result.detail or "")


def test_points_of_sobol_are_drawn_in_another_process(worker: Worker) -> None:
    space = {LR: {"log_uniform": [1e-4, 0.1]}}
    search = {"space": space, "sampler": "sobol", "budget": {"trials": 4}}
    sweep_id = new_sweep(worker, pruner="none", **search)
    advance(sweep_id, worker.database)
    values = [job.spec["training"]["optimizer"]["lr"] for job in trials_of(worker, sweep_id)]
    assert len({*values}) == 4
    assert all(1e-4 <= value <= 0.1 for value in values)


def test_a_sweep_that_cannot_be_driven_fails_after_a_while(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep_id = new_sweep(worker)
    monkeypatch.setattr("worker.sweeps.decide", lambda *_, **__: [][0])
    faults: dict[str, Fault] = {}
    drive(worker, faults)
    first = faults[sweep_id]
    drive(worker, faults)  # too soon for another try
    assert faults == {sweep_id: first}
    faults[sweep_id] = Fault(first.since, retry_at=0.0)
    drive(worker, faults)
    assert get_sweep(worker, sweep_id).state == "running"
    faults[sweep_id] = Fault(first.since - FAULT_SECONDS, retry_at=0.0)
    drive(worker, faults)
    failed = get_sweep(worker, sweep_id)
    assert (failed.state, failed.state_reason) == ("failed", "internal_error")
    assert "IndexError" in (failed.detail or "")


def test_a_sweep_whose_fault_has_passed_goes_on(worker: Worker) -> None:
    sweep_id = new_sweep(worker)
    faults = {sweep_id: Fault(-FAULT_SECONDS, retry_at=0.0)}
    drive(worker, faults)
    assert faults == {}
    assert trials_of(worker, sweep_id)
