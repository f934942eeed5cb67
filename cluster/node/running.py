"""The runs that this node was given, as its member sees them: their tasks with sinks of this node, and their credits.

Knows neither the connection nor the tasks' threads.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from cluster.jobs.lease import Lease
from cluster.node.loading import RunLoaded
from cluster.node.sinks import SinkPorts, with_sinks_here
from cluster.node.untaken import REST_S, Untaken
from cluster.runtime.control import RunCollected, RunLogged
from cluster.runtime.control_message import RemoteFailure
from cluster.runtime.control_state import LookUpState, StateFound
from cluster.runtime.lookup import LookUp
from cluster.runtime.messages import TaskSpec
from cluster.runtime.packed import pack_records, unpack_records
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.scheduler import Scheduler
from sage.base.errors import InternalError, SageError
from sage.base.ids import JobId, TaskId

MAX_SHOWN_CHARS = 10_000


class Rest(NamedTuple):
    """The time after a message of a task's collecting sinks in which what is small waits for more."""

    run_id: JobId
    task_id: TaskId


class Running:
    """Used by one thread."""

    def __init__(
        self,
        send: Callable[[RunCollected | RunLogged], object],
        set_timer: Callable[[Rest, float], object],
        scheduler: Scheduler,
    ) -> None:
        """`send` takes, on any thread and without waiting, what sinks have for the head.

        `set_timer` has `has_rested` called with that Rest, in so many seconds.
        """
        self._send = send
        self._set_timer = set_timer
        self._resting: set[Rest] = set()  # whose timers are under way
        self._scheduler = scheduler
        self._types: dict[JobId, RecordTypes] = {}
        self._untaken: dict[JobId, dict[TaskId, Untaken]] = {}

    def tasks(self, loaded: RunLoaded, lease: Lease) -> tuple[TaskSpec, ...]:
        """Return the tasks of a run as they are to be deployed; what others see of them happens under `lease`."""
        run_id = loaded.order.run_id
        credits_of = self._untaken[run_id] = {task.id: Untaken(self._scheduler.condition()) for task in loaded.tasks}
        self._types[run_id] = loaded.types
        keeps = loaded.order.keeping is not None
        return tuple(
            with_sinks_here(
                task, SinkPorts(run_id, task.id, loaded.types, lease, credits_of[task.id], self._send, keeps)
            )
            for task in loaded.tasks
        )

    def give(self, run_id: JobId, task_id: TaskId, num: int) -> None:
        """Give a task credits back; unknown ones are passed over."""
        untaken = self._untaken.get(run_id, {}).get(task_id)
        if untaken is not None:
            untaken.give(num)

    def has_left(self, run_id: JobId, task_id: TaskId) -> None:
        """Let a task rest after a message of its collecting sinks, unless it does: many never put its timer off."""
        rest = Rest(run_id, task_id)
        if rest not in self._resting:
            self._rest(rest)

    def has_rested(self, rest: Rest) -> None:
        """Let what a task has gathered leave, and it rest again where there was some; no longer one that is unknown."""
        untaken = self._untaken.get(rest.run_id, {}).get(rest.task_id)
        if untaken is not None and untaken.has_rested():
            self._rest(rest)
        else:
            self._resting.discard(rest)

    def look_up(self, order: LookUpState, tell: Callable[[LookUp], object], send: Callable[[StateFound], bool]) -> None:
        """`tell` the node to ask the task; `send` takes its answer, on any thread."""
        types = self._types.get(order.run_id, RecordTypes())
        answer = partial(_answer, order, types, send)
        try:
            keys = unpack_records(order.key, types)
        except SageError as error:
            return answer(None, error)
        if len(keys) != 1:
            return answer(None, InternalError(f"{len(keys)} keys where one was to be looked up"))
        tell(LookUp(order.run_id, order.task_id, order.step, keys[0], answer))

    def end(self, run_id: JobId) -> None:
        """Let no task of a run wait for the head any more, and forget it."""
        self._types.pop(run_id, None)
        for untaken in self._untaken.pop(run_id, {}).values():
            untaken.end()

    def _rest(self, rest: Rest) -> None:
        self._resting.add(rest)
        self._set_timer(rest, REST_S)


def _answer(
    order: LookUpState, types: RecordTypes, send: Callable[[StateFound], bool], value: Any, error: SageError | None
) -> None:
    if error is None:
        try:
            [piece] = pack_records([value], types, where=f"the state of step {order.step!r}, which was asked for,")
            send(StateFound(order.number, piece.packed, repr(value)[:MAX_SHOWN_CHARS], None))
            return
        except SageError as refusal:
            error = refusal
    send(StateFound(order.number, b"", "", RemoteFailure.of(error)))
