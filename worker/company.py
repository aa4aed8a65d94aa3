"""Train trials as a stack, in one process and from rung to rung. Their rows are read once."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog

from dropout_core.training.stack import Stack
from worker.failures import ERRORS, failure
from worker.job_training import JobTraining
from worker.messages import Assignment, Message, Reached
from worker.trainer_pipe import TrainerPipe

log = structlog.get_logger()

SAVERS = 8  # threads that store checkpoints; most of the time they wait for the disk


class Company:
    """Trials with the same rows and the same stack key, which share their steps.

    What one of them does, or what is ordered for it, does not concern the others. If they cannot
    train together, for want of memory or because one fails, they go on in smaller stacks.
    """

    def __init__(self, pipe: TrainerPipe) -> None:
        self._pipe = pipe
        self._members: list[JobTraining] = []  # in the order of the stack
        self._stack = Stack([])
        self._largest: int | None = None  # more members have failed to train together
        self._saver = ThreadPoolExecutor(SAVERS)
        self._ending: list[tuple[JobTraining, Message]] = []  # with a checkpoint under way
        self._over: set[str] = set()  # jobs of this run that have ended
        self._waiting: set[str] = set()  # jobs that can go on from memory
        self._diverged: set[int] = set()  # members that are known to have left for it

    def run(self, assignments: Sequence[Assignment]) -> None:
        """Run one attempt of each; those that reach their rung stay in memory.

        A winner, which has no rung, comes alone.
        """
        self._over.clear()
        if assignments[0].pause_after is None:
            self._complete(assignments[0])
            return
        while rest := [a for a in assignments if a.job_id not in self._over]:
            together = rest[: self._largest]
            try:
                self._train(together)
                continue
            except (BrokenPipeError, ConnectionResetError):
                raise
            except ERRORS as error:
                told = failure(error)
            self._tell_ended()
            self._leave()  # with what the stack holds in memory
            if len(together) == 1:
                self._end(together[0].job_id, told)
            else:
                self._largest = -(-len(together) // 2)
                log.warning("training in smaller stacks", members=self._largest, error=told.detail)

    def _train(self, assignments: Sequence[Assignment]) -> None:
        if not self._go_on(assignments):
            self._join(assignments)
        jobs = {assignment.job_id for assignment in assignments} - self._over
        current = [(i, m) for i, m in enumerate(self._members) if m.assignment.job_id in jobs]
        epoch = 0
        left: deque[JobTraining] = deque()  # members that a thread has dropped from the stack

        def drop(index: int) -> None:
            self._stack.drop(index)
            left.append(self._members[index])

        for index, member in current:
            assert member.assignment.pause_after is not None
            self._stack.limits[index] = member.assignment.pause_after
            member.interrupt_by(partial(drop, index))
            if member.has_reached:  # the last attempt ended between its checkpoint and its message
                self._conclude(member)
        for index, metrics in self._stack:
            if metrics.epoch != epoch:  # or checkpoints of a rung would wait for each other
                self._tell_ended()
                epoch = metrics.epoch
            self._members[index].completed(metrics)
            if self._members[index].has_reached:
                self._conclude(self._members[index])
            while left:
                self._conclude(left.popleft())
            for diverged in self._stack.errors.keys() - self._diverged:
                self._conclude(self._members[diverged])
        for _, member in current:
            self._conclude(member)
        self._tell_ended()

    def _complete(self, assignment: Assignment) -> None:
        """Take a trial to the end of a job: from memory, if its training is over there."""
        try:
            is_over = {m.assignment.job_id for m in self._members if m.training.finished}
            if assignment.job_id in is_over and self._go_on([assignment]):
                [member] = [m for m in self._members if m.assignment is assignment]
                last = member.conclude()
            else:
                like = self._members[0] if self._members else None
                member = JobTraining(self._pipe, assignment, like=like)
                last = member.run()
            member.wait_until_saved()
        except (BrokenPipeError, ConnectionResetError):
            raise
        except ERRORS as error:
            last = failure(error)
        self._end(assignment.job_id, last)
        self._leave()

    def _tell_ended(self) -> None:
        """Send the last messages of members, once their checkpoints are stored."""
        ending, self._ending = self._ending, []
        for member, last in ending:
            job_id = member.assignment.job_id
            try:
                member.wait_until_saved()
            except ERRORS as error:
                last = failure(error)
                self._waiting.discard(job_id)
            self._pipe.send(job_id, last)

    def _go_on(self, assignments: Sequence[Assignment]) -> bool:
        """Give members their next assignments, if all of the jobs wait for theirs."""
        waiting = {m.assignment.job_id: m for m in self._members}
        members = [waiting.get(a.job_id) for a in assignments if a.job_id in self._waiting]
        # Another attempt in between has gone on from the checkpoint.
        last = [(m.assignment.job_id, m.assignment.attempt + 1) for m in members if m is not None]
        if last != [(a.job_id, a.attempt) for a in assignments]:
            return False
        for member, assignment in zip(members, assignments, strict=True):
            assert member is not None
            member.go_on(assignment)
        return True

    def _join(self, assignments: Sequence[Assignment]) -> None:
        """Build the members, each from its newest checkpoint, as many as fit into memory."""
        like = self._members[0] if self._members else None
        self._leave()
        for assignment in assignments:
            if len(self._members) == self._largest:
                break
            try:
                member = JobTraining(self._pipe, assignment, like=like, saver=self._saver)
                member.begin()
            except (BrokenPipeError, ConnectionResetError, MemoryError):
                raise
            except ERRORS as error:
                self._end(assignment.job_id, failure(error))
                continue
            like = like or member
            self._members.append(member)
            most = max(1, assignment.stack_bytes // member.own_bytes)
            self._largest = min(most, self._largest or most)
        self._stack = Stack([member.training for member in self._members])

    def _leave(self) -> None:
        self._members, self._stack = [], Stack([])
        self._waiting.clear()
        self._diverged.clear()

    def _conclude(self, member: JobTraining) -> None:
        """Send the last message of a member that has left the stack, unless it is sent."""
        job_id, index = member.assignment.job_id, self._members.index(member)
        if job_id in self._over:
            return
        self._waiting.discard(job_id)
        if member.order == "drop":
            self._over.add(job_id)
        elif index in self._stack.errors:
            self._diverged.add(index)
            self._end(job_id, failure(self._stack.errors[index]))
        else:
            last = _conclusion(member)
            self._pipe.on_order(job_id, _nothing)  # a late order is for the attempt that is over
            if isinstance(last, Reached) and member.order is None:
                self._waiting.add(job_id)
            self._over.add(job_id)
            self._ending.append((member, last))

    def _end(self, job_id: str, last: Message) -> None:
        self._over.add(job_id)
        self._pipe.send(job_id, last)


def _conclusion(member: JobTraining) -> Message:
    try:
        return member.conclude()
    except (BrokenPipeError, ConnectionResetError):
        raise
    except ERRORS as error:
        return failure(error)


def _nothing() -> None:
    pass
