"""The rows of jobs, read in one transaction, and the invariants that hold for them."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, select, text

from store.database.engine import Database
from store.database.tables import epochs, events, jobs, models
from store.jobs import TERMINAL
from worker.messages import job_prefix

Row = dict[str, Any]

# From which states an event may follow, and into which it leads; None leaves the state as it is.
MOVES: dict[str, tuple[tuple[str | None, ...], str | None]] = {
    "queued": ((None,), "queued"),
    "running": (("queued", "running"), "running"),  # or its lease had run out
    "step": (("running",), None),
    "warning": (("running",), None),
    "epoch": (("running", "cancelling"), None),  # of a job that is to keep its model
    "requeued": (("running",), "queued"),
    "cancelling": (("running",), "cancelling"),
    "succeeded": (("running",), "succeeded"),
    "failed": (("running",), "failed"),
    "cancelled": (("queued", "cancelling"), "cancelled"),
}


@dataclass(frozen=True)
class History:
    """Every row of one job. Two are equal if nothing was written between them."""

    job: Row
    events: list[Row]
    epochs: list[Row]
    models: list[Row]

    @property
    def state(self) -> str:
        return str(self.job["state"])

    @property
    def is_over(self) -> bool:
        return self.state in TERMINAL

    @property
    def weights_sha256(self) -> str:
        [model] = self.models
        return str(model["manifest"]["weights_sha256"])

    @property
    def learned(self) -> list[Row]:
        """Return the epochs without what depends on time."""
        passing = ("job_id", "samples_per_second", "recorded_at")
        return [{k: v for k, v in epoch.items() if k not in passing} for epoch in self.epochs]

    @property
    def num_attempts_since_progress(self) -> int:
        """Return the number of attempts since the last epoch, with the attempt of that epoch."""
        types = [event["type"] for event in self.events]
        num_since = types[::-1].index("epoch") if "epoch" in types else len(types)
        return types[len(types) - num_since :].count("running") + ("epoch" in types)

    def assert_sound(self) -> None:
        """Check the invariants that hold for a job at every moment."""
        self._assert_events_tell_how_it_came_here()
        self._assert_epochs_have_no_gap_and_no_repeat()
        owned = self.state in ("running", "cancelling")
        assert owned == (self.job["owner"] is not None), self.job
        assert owned == (self.job["lease_expires_at"] is not None), self.job
        assert self.is_over == (self.job["finished_at"] is not None), self.job
        assert self.is_over == (self.job["state_reason"] is not None), self.job
        may_keep = self.state == "cancelled" and self.job["keep_model"]
        assert may_keep or len(self.models) == (self.state == "succeeded"), self.models
        for model in self.models:
            artifact = f"{job_prefix(self.job['id'])}/{self.job['attempt']}/model"
            assert model["artifact"] == artifact, model

    def _assert_events_tell_how_it_came_here(self) -> None:
        """Check that each event may follow the one before, and is of the newest attempt."""
        sequence = [event["sequence"] for event in self.events]
        assert sequence == list(range(1, self.job["num_events"] + 1)), sequence
        state: str | None = None
        attempt = 0
        for event in self.events:
            allowed, next_state = MOVES[event["type"]]
            assert state in allowed, (event, self.events)
            attempt += event["type"] == "running"
            assert event["data"].get("attempt", 0) == attempt, (event, self.events)
            is_late = (event["type"], state) == ("epoch", "cancelling")
            assert not is_late or self.job["keep_model"], (event, self.events)
            state = next_state or state
        assert (state, attempt) == (self.state, self.job["attempt"]), (self.job, self.events)

    def _assert_epochs_have_no_gap_and_no_repeat(self) -> None:
        announced = [event["data"] for event in self.events if event["type"] == "epoch"]
        assert [epoch["epoch"] for epoch in self.epochs] == list(
            range(1, self.job["epochs_completed"] + 1)
        ), self.epochs
        assert [data["epoch"] for data in announced] == [row["epoch"] for row in self.epochs]
        for data, row in zip(announced, self.epochs, strict=True):
            assert all(row[name] == value for name, value in data.items() if name in row), data


def histories(database: Database, *, since: str, ids: set[str]) -> dict[str, History]:
    """Return the rows, at one moment, of jobs whose id is `since` or later or in `ids`."""
    with database.read() as transaction:
        if transaction.dialect.name == "postgresql":
            transaction.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))

        def rows(table: Table, column: str, *order: str) -> dict[str, list[Row]]:
            which = (table.c[column] >= since) | table.c[column].in_(ids)
            found = defaultdict(list)
            query = select(table).where(which).order_by(*(table.c[name] for name in order))
            for row in transaction.execute(query).mappings():
                found[row[column]].append(dict(row))
            return found

        of_jobs = rows(jobs, "id", "id")
        of_events = rows(events, "job_id", "job_id", "sequence")
        of_epochs = rows(epochs, "job_id", "job_id", "epoch")
        of_models = rows(models, "job_id", "job_id")
    assert not of_events.keys() - of_jobs.keys(), "events of a job that is not there"
    assert not of_epochs.keys() - of_jobs.keys(), "epochs of a job that is not there"
    return {
        job_id: History(job, of_events[job_id], of_epochs[job_id], of_models[job_id])
        for job_id, [job] in of_jobs.items()
    }
