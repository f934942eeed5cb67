"""What clients ask of the state of steps: passed on to the node of the task that keeps it, and the answer back.

Knows no socket. Who asks waits for a time of its own; what nobody waits for any more is forgotten.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cluster.head.book import JobBook, JobEntry
from cluster.jobs.tasks import task_id_of
from cluster.runtime.channel import PeerId
from cluster.runtime.control import ControlMessage
from cluster.runtime.control_clients import Declined
from cluster.runtime.control_state import GetState, LookUpState, StateAnswer, StateFound
from cluster.runtime.lookup import task_is_gone
from sage.base.errors import Overloaded, SageError, UnknownState
from sage.base.ids import NodeId, TaskId
from sage.base.inference import Failure
from sage.flow.runner import JobStatus

MAX_ASKED = 1_000
"""Questions that wait for a node's answer."""

WAITS_S = 60.0
"""For how long at most a node's answer is expected."""


@dataclass(frozen=True, slots=True)
class _Asked:
    peer: PeerId
    question: int
    until_s: float


class StateDesk:
    """Used by one thread. `tell_node` says something to a node, and whether it is a member; `now_s` is the clock."""

    def __init__(
        self,
        book: JobBook,
        tell_node: Callable[[NodeId, ControlMessage], bool],
        send: Callable[[PeerId, ControlMessage], object],
        now_s: Callable[[], float],
    ) -> None:
        self._book = book
        self._tell_node = tell_node
        self._send = send
        self._now_s = now_s
        self._asked: dict[int, _Asked] = {}
        self._num_asked = 0

    def ask(self, peer: PeerId, message: GetState) -> None:
        """Pass a question on. Raises UnknownJob, UnknownState, StateUnreachable, Overloaded."""
        entry = self._book.entry(message.job_id)
        task_id = _task_of(entry, message)
        self._forget_late()
        self._num_asked += 1
        number = self._num_asked
        order = LookUpState(number, entry.run_id, task_id, message.step, message.key)
        if not _runs(entry) or not self._tell_node(entry.nodes.get(task_id, NodeId("")), order):
            raise task_is_gone(task_id)
        self._asked[number] = _Asked(peer, message.question, self._now_s() + WAITS_S)

    def found(self, message: StateFound) -> None:
        """Answer whoever asked."""
        asked = self._asked.pop(message.number, None)
        if asked is None:
            return
        if message.failure is not None:
            self._send(asked.peer, Declined(asked.question, Failure.of(message.failure.error())))
        else:
            self._send(asked.peer, StateAnswer(asked.question, message.value, message.shown))

    def _forget_late(self) -> None:
        now_s = self._now_s()
        while self._asked and next(iter(self._asked.values())).until_s <= now_s:
            del self._asked[next(iter(self._asked))]
        if len(self._asked) >= MAX_ASKED:
            raise Overloaded(f"{MAX_ASKED:,} questions for states wait for their answer", "Ask again later.")


def _runs(entry: JobEntry) -> bool:
    """Say whether the tasks of the newest run have begun, and not all have ended."""
    has_begun = entry.view.run_id == entry.run_id and entry.view.metrics.status is not JobStatus.CREATED
    return has_begun and not entry.view.is_over


def _task_of(entry: JobEntry, message: GetState) -> TaskId:
    for chain in entry.outline.chains:
        if message.step in chain.steps and 0 <= message.instance < chain.parallelism:
            return task_id_of(entry.run_id, chain.id, message.instance)
    raise _no_task(message)


def _no_task(message: GetState) -> SageError:
    return UnknownState(f"job {message.job_id} has no instance {message.instance} of a step {message.step!r}")
