"""Kill -9 whatever there is to kill, at random moments in the middle of a job.

KILLS=20 tries twenty moments for each kind of process instead of three.
"""

import os
import random
from collections.abc import Callable

import psutil
import pytest

from tests.integration.services import Embedded
from tests.worker.examples import EPOCHS, Result
from tests.worker.processes import wait_for_trainer

pytestmark = pytest.mark.xdist_group("services")  # they share what takes long to start

NUM_KILLS = int(os.environ.get("KILLS", "3"))


def trainer(service: Embedded) -> psutil.Process:
    return wait_for_trainer(worker(service).pid)


def worker(service: Embedded) -> psutil.Process:
    return service.child("worker")


def api(service: Embedded) -> psutil.Process:
    return service.child("app")


@pytest.mark.timeout(30 + 30 * NUM_KILLS)
@pytest.mark.parametrize("victim", [trainer, worker, api])
def test_a_kill_changes_nothing_but_the_time(
    embedded_service: Embedded, uninterrupted: Result, victim: Callable[[Embedded], psutil.Process]
) -> None:
    moments = random.Random(victim.__name__).choices(range(EPOCHS // 2), k=NUM_KILLS)
    for moment in moments:
        job_id = embedded_service.client.submit()
        embedded_service.client.wait_for_epoch(job_id, moment)
        victim(embedded_service).kill()

        assert embedded_service.client.result(job_id) == uninterrupted, (
            f"killed after epoch {moment}"
        )
