from sqlalchemy import Connection

from store import events, jobs
from store.database.engine import Database
from tests.support.concurrency import at_once, transaction
from tests.support.store_examples import cancel_job, epoch, get_job, new_claim, new_job


def test_a_page_goes_on_after_the_last_event_seen(connection: Connection) -> None:
    mine = new_claim(connection)
    for number in (1, 2, 3):
        jobs.record(connection, mine, epoch(number))
    seen: list[int] = []
    while page := events.page(connection, mine.job_id, after=len(seen), limit=2):
        assert len(page) <= 2
        seen += [event.sequence for event in page]
    assert seen == [1, 2, 3, 4, 5]


def test_a_page_holds_the_events_of_one_job_only(connection: Connection) -> None:
    first, second = new_job(connection), new_job(connection)
    cancel_job(connection, second.id)
    page = events.page(connection, first.id, after=0, limit=9)
    assert [(event.job_id, event.type) for event in page] == [(first.id, "queued")]


def test_events_carry_their_time_and_what_happened(connection: Connection) -> None:
    mine = new_claim(connection)
    jobs.record(connection, mine, epoch(1))
    queued, running, first = events.page(connection, mine.job_id, after=0, limit=9)
    assert queued.data == {}
    assert running.data == {"attempt": 1}
    assert first.data == {"attempt": 1, **epoch(1)}
    assert queued.created_at <= running.created_at <= first.created_at


def test_a_reader_who_has_seen_an_event_has_seen_all_before_it(database: Database) -> None:
    with database.write() as connection:
        mine = new_claim(connection)

    def write() -> None:
        for number in range(1, 31):
            with database.write() as connection:
                jobs.record(connection, mine, epoch(number))
        with database.write() as connection:
            jobs.fail(connection, mine, reason="diverged", detail="")

    def cancel() -> None:
        with database.write() as connection:
            cancel_job(connection, mine.job_id)

    def follow() -> list[int]:
        seen: list[int] = []
        last = ""
        while last not in jobs.TERMINAL:
            with database.read() as connection:
                page = events.page(connection, mine.job_id, after=max(seen, default=0), limit=4)
            seen += [event.sequence for event in page]
            last = page[-1].type if page else last
        return seen

    _, _, *followed = at_once(write, cancel, follow, follow)
    with database.read() as connection:
        num_events = get_job(connection, mine.job_id).num_events
    assert followed == [list(range(1, num_events + 1))] * 2


def test_events_of_a_transaction_that_failed_leave_no_gap(database: Database) -> None:
    with database.write() as connection:
        mine = new_claim(connection)

    def record_and_fail() -> None:
        with database.write() as connection:
            jobs.record(connection, mine, epoch(1))
            raise RuntimeError

    [error] = at_once(record_and_fail)
    assert isinstance(error, RuntimeError)
    transaction(database, jobs.record, mine, epoch(1))()
    with database.read() as connection:
        page = events.page(connection, mine.job_id, after=0, limit=9)
    assert [event.sequence for event in page] == [1, 2, 3]
