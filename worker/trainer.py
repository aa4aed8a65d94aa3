"""The child process: train jobs with dropout_core, and send their progress to the supervisor.

It is forked from a forkserver that has torch loaded, so a small job starts at once, and CUDA is
first used here. It holds no lease and writes no database, only artifacts under its own prefixes.
"""

import os
import signal
from multiprocessing.connection import Connection

import torch

from worker.company import Company
from worker.failures import ERRORS, failure
from worker.job_training import JobTraining
from worker.messages import Assignment
from worker.trainer_pipe import TrainerPipe

NICENESS = 5  # a server on the same machine has priority


def main(connection: Connection, assignments: list[Assignment]) -> None:
    """Run one attempt of each job to its end, and send the messages that end them.

    Trials that train as a stack wait for further assignments then, with their networks.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor handles Ctrl-C
    os.nice(NICENESS)
    torch.set_num_threads(assignments[0].num_threads)
    pipe = TrainerPipe(connection)
    try:
        if not assignments[0].is_stacked:
            [assignment] = assignments
            _run(pipe, assignment)
            return
        company = Company(pipe)
        while True:
            company.run(assignments)
            assignments = pipe.wait_for_assignments()
    except (BrokenPipeError, ConnectionResetError):
        return  # the supervisor is dead


def _run(pipe: TrainerPipe, assignment: Assignment) -> None:
    try:
        last = JobTraining(pipe, assignment).run()
    except (BrokenPipeError, ConnectionResetError):
        raise
    except ERRORS as error:
        last = failure(error)
    pipe.send(assignment.job_id, last)
