"""A job as its owner holds it: waits, cancels, looks. Knows nothing of where the job runs."""

import os
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from html import escape
from typing import Any, Protocol

from pykka import ActorRef

from cluster.jobs.checkpoint_start import flow_folder
from cluster.jobs.node_port import ActorNode
from cluster.jobs.orders import CancelJob, DeadLettersOf, FindTask, JobView, SavepointOf
from cluster.runtime.actor import ask, tell
from cluster.runtime.lookup import LookUp, StateWanted, instance_for, task_is_gone
from cluster.runtime.scheduler import Condition
from operators.state import not_kept
from sage.base.clock import Clock
from sage.base.errors import CheckpointUnusable, InternalError, JobTimeout, SageError, TaskStuck
from sage.base.ids import JobId
from sage.flow.graph import Graph, states_of
from sage.flow.guarantees import guarantees_of
from sage.flow.runner import STATE_S, DeadLetterRecord, JobMetrics, JobResult, JobStatus
from sage.flow.waits import check_wait

PROGRESS_EVERY_S = 0.1
ANSWER_S = 5.0
SAVEPOINT_S = 120.0


class JobBoard:
    """Where the manager posts how a job is, and its owner waits for news."""

    def __init__(self, news: Condition | None = None) -> None:
        """`news`: nobody else's, for the owner to wait by."""
        self._news: Condition = news if news is not None else threading.Condition()
        self._view: JobView | None = None

    def post(self, view: JobView) -> None:
        """Take news; called on the manager's thread."""
        with self._news:
            self._view = view
            self._news.notify_all()

    @property
    def view(self) -> JobView:
        assert self._view is not None, "the manager posts before it answers"
        return self._view

    def wait_over(self, timeout_s: float | None) -> bool:
        """Wait until the job is over; return whether it is."""
        with self._news:
            return self._news.wait_for(lambda: self.view.is_over, timeout_s)

    def wait_begun(self, timeout_s: float | None) -> bool:
        """Wait until every task of the job has begun, or it is over; return whether that is so."""
        with self._news:
            return self._news.wait_for(lambda: self.view.metrics.status is not JobStatus.CREATED, timeout_s)

    def wait_news(self, seen: JobView | None, timeout_s: float | None) -> JobView:
        """Wait until there is a newer view than `seen`, and return the newest."""
        with self._news:
            self._news.wait_for(lambda: self._view is not seen, timeout_s)
            return self.view


class JobDesk(Protocol):
    """Whom the owner of a job turns to."""

    def cancel(self, job_id: JobId) -> bool:
        """Have a job stopped, without waiting for it; False where nobody is there to do it."""
        ...

    def dead_letters(self, job_id: JobId) -> list[DeadLetterRecord]: ...

    def state(self, job_id: JobId, wanted: StateWanted) -> Any:
        """Return what a step keeps of a key; raises UnknownState, StateUnreachable."""
        ...

    def savepoint(self, job_id: JobId, path: str) -> None:
        """Copy all that a job holds to a new folder; returns once it is there."""
        ...


@dataclass(frozen=True, slots=True)
class ManagerDesk:
    """The job manager of this process."""

    manager: ActorRef[Any]

    def cancel(self, job_id: JobId) -> bool:
        return tell(self.manager, CancelJob(job_id))

    def dead_letters(self, job_id: JobId) -> list[DeadLetterRecord]:
        return ask(self.manager, DeadLettersOf(job_id), timeout_s=ANSWER_S)

    def state(self, job_id: JobId, wanted: StateWanted) -> Any:
        at = ask(self.manager, FindTask(job_id, wanted.step, wanted.instance), timeout_s=ANSWER_S)
        if not isinstance(at.node, ActorNode):
            raise InternalError(f"the node of task {at.task_id} is not of this process")
        came: Future[tuple[Any, SageError | None]] = Future()

        def answer(value: Any, error: SageError | None) -> None:
            came.set_result((value, error))

        if not at.node.look_up(LookUp(at.run_id, at.task_id, wanted.step, wanted.key, answer)):
            raise task_is_gone(at.task_id)
        try:
            value, error = came.result(wanted.timeout_s)
        except TimeoutError:
            raise wanted.too_late() from None
        if error is not None:
            raise error
        return value

    def savepoint(self, job_id: JobId, path: str) -> None:
        done: Future[SageError | None] = Future()
        tell(self.manager, SavepointOf(job_id, path, done.set_result))
        try:
            error = done.result(SAVEPOINT_S)
        except TimeoutError:
            error = CheckpointUnusable(f"the savepoint was not complete after {SAVEPOINT_S:g} s", "Try again later.")
        if error is not None:
            raise error


class SubmittedJob:
    """A flow that was submitted to a cluster."""

    def __init__(
        self,
        job_id: JobId,
        graph: Graph,
        board: JobBoard,
        desk: JobDesk,
        clock: Clock,
        *,
        is_kept: bool = False,
    ) -> None:
        """`is_kept`: it takes checkpoints."""
        self._id = job_id
        self._graph = graph
        self._board = board
        self._desk = desk
        self._is_kept = is_kept
        self._states = states_of(graph)
        self._clock = clock

    @property
    def id(self) -> JobId:
        return self._id

    @property
    def graph(self) -> Graph:
        return self._graph

    @property
    def status(self) -> JobStatus:
        return self._board.view.metrics.status

    @property
    def is_over(self) -> bool:
        """Say whether nothing of it runs any more."""
        return self._board.view.is_over

    def wait(
        self, timeout_s: float | None = None, *, on_progress: Callable[[JobMetrics], None] | None = None
    ) -> JobResult:
        """Wait for the end; see sage.flow.runner.Job. Ctrl-C interrupts the wait; the job itself goes on."""
        check_wait(timeout_s)
        until_s = None if timeout_s is None else self._clock.monotonic_s() + timeout_s
        if on_progress is None:
            self._board.wait_over(timeout_s)
        else:
            self._follow(on_progress, until_s)
        view = self._board.view
        if not view.is_over:
            raise JobTimeout(f"job {self._id} ({self._graph.name}) did not end within {timeout_s} s; it goes on")
        if view.error is not None:
            raise _as_raised(view.error)
        return self._result(view)

    def cancel(self) -> None:
        """Stop it now and wait until it has; raises TaskStuck where the user's code still runs."""
        if not self.ask_to_stop():
            return
        self._board.wait_over(ANSWER_S)
        view = self._board.view
        if not view.is_over:
            raise InternalError(f"job {self._id} has not stopped within {ANSWER_S} s")
        if isinstance(view.error, TaskStuck):
            raise view.error

    def ask_to_stop(self) -> bool:
        """Have it stopped, without waiting; return whether it was not over yet."""
        if self._board.view.is_over:
            return False
        return self._desk.cancel(self._id)

    def wait_begun(self, timeout_s: float | None = None) -> None:
        """Wait until it runs; raises what made it fail, or JobTimeout."""
        check_wait(timeout_s)
        if not self._board.wait_begun(timeout_s):
            raise JobTimeout(f"job {self._id} ({self._graph.name}) did not begin within {timeout_s} s; it goes on")
        if (error := self._board.view.error) is not None:
            raise _as_raised(error)

    def wait_stopped(self, timeout_s: float) -> None:
        """Wait until nothing of it runs, at most `timeout_s`."""
        self._board.wait_over(timeout_s)

    def stuck(self) -> str | None:
        """Say what of the user's code still runs after the job was stopped."""
        error = self._board.view.error
        return error.what if isinstance(error, TaskStuck) else None

    def metrics(self) -> JobMetrics:
        return self._board.view.metrics

    def dead_letters(self) -> list[DeadLetterRecord]:
        """Return the newest dead letters, at most 10,000."""
        return self._desk.dead_letters(self._id)

    def states(self) -> tuple[str, ...]:
        """Return the steps that `state` can be asked of; see sage.flow.runner.Job."""
        return self._states

    def state(self, step: str, key: Hashable, *, timeout_s: float = STATE_S) -> Any:
        """Return what a running step keeps of `key` now; see sage.flow.runner.Job."""
        check_wait(timeout_s)
        instance = instance_for(self._graph, step, key)
        if step not in self._states:
            raise not_kept(step)
        return self._desk.state(self._id, StateWanted(step, key, instance, timeout_s))

    def savepoint(self, path: str | os.PathLike[str]) -> None:
        """Copy all that the job holds to a new folder, and go on; see sage.flow.runner.Job."""
        self._desk.savepoint(self._id, flow_folder(path, self._graph.name))

    def _follow(self, on_progress: Callable[[JobMetrics], None], until_s: float | None) -> None:
        """Call `on_progress` with what is new, at most ten times a second, until the job is over or the time is."""
        seen: JobView | None = None
        while True:
            now_s = self._clock.monotonic_s()
            left_s = None if until_s is None else max(0.0, until_s - now_s)
            view = self._board.wait_news(seen, left_s)
            if view is not seen:
                on_progress(view.metrics)
            seen = view
            if view.is_over or left_s == 0.0:
                return
            self._board.wait_over(PROGRESS_EVERY_S if left_s is None else min(PROGRESS_EVERY_S, left_s))

    def _result(self, view: JobView) -> JobResult:
        metrics = view.metrics
        return JobResult(
            job_id=self._id,
            status=metrics.status,
            records_in=metrics.records_in,
            records_out=metrics.records_out,
            dead_letters=view.num_dead_letters,
            duration_s=metrics.duration_s,
            guarantees=guarantees_of(self._graph, view.num_restarts, is_kept=self._is_kept),
            num_replayed=sum(chain.num_replayed for chain in metrics.chains),
            num_repeated=sum(chain.num_repeated for chain in metrics.chains),
            num_cached=sum(chain.num_cached for chain in metrics.chains),
            num_unreadable=sum(chain.num_unreadable for chain in metrics.chains),
        )

    def _repr_html_(self) -> str:
        metrics = self.metrics()
        rows = "".join(
            f"<tr><td>{escape(' → '.join(chain.steps))}</td><td>{chain.num_tasks}</td><td>{chain.records_in:,}</td>"
            f"<td>{chain.records_out:,}</td><td>{chain.busy_s:.2f}</td></tr>"
            for chain in metrics.chains
        )
        return (
            f"<p>Job <b>{escape(self._id)}</b> of flow {escape(self._graph.name)}: {escape(metrics.status_shown)}, "
            f"{metrics.records_in:,} records in, {metrics.records_out:,} out</p>"
            f"<table><tr><th>steps</th><th>tasks</th><th>in</th><th>out</th><th>busy s</th></tr>{rows}</table>"
        )


def _as_raised(error: SageError) -> SageError:
    """Return `error` without the frames of the task's thread, unless the fault is ours: they tell a user nothing."""
    return error if isinstance(error, InternalError) else error.with_traceback(None)
