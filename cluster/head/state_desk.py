"""What clients ask of the state of steps: passed on to the node of the task that keeps it, and the answer back.

Knows no socket.
"""

from collections.abc import Callable

from cluster.head.book import JobBook, JobEntry
from cluster.head.open_questions import OpenQuestions, WhoAsked
from cluster.jobs.tasks import task_id_of
from cluster.runtime.channel import PeerId
from cluster.runtime.control import ControlMessage
from cluster.runtime.control_clients import Declined
from cluster.runtime.control_state import GetState, LookUpState, StateAnswer, StateFound
from cluster.runtime.lookup import task_is_gone
from sage.base.errors import SageError, UnknownState
from sage.base.ids import NodeId, TaskId
from sage.base.inference import Failure
from sage.flow.runner import JobStatus


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
        self._open = OpenQuestions("states", now_s)

    def ask(self, peer: PeerId, message: GetState) -> None:
        """Pass a question on. Raises UnknownJob, UnknownState, StateUnreachable, Overloaded."""
        entry = self._book.entry(message.job_id)
        task_id = _task_of(entry, message)
        number, node_id = self._open.next_number(), entry.nodes.get(task_id, NodeId(""))
        order = LookUpState(number, entry.run_id, task_id, message.step, message.key)
        if not _runs(entry) or not self._tell_node(node_id, order):
            raise task_is_gone(task_id)
        self._open.keep(number, WhoAsked(peer, message.question, node_id))

    def found(self, node_id: NodeId, message: StateFound) -> None:
        """Answer whoever asked; what is not this node's to say is passed over."""
        asker = self._open.answered(message.number, node_id)
        if asker is None:
            return
        if message.failure is not None:
            self._send(asker.peer, Declined(asker.question, Failure.of(message.failure.error())))
        else:
            self._send(asker.peer, StateAnswer(asker.question, message.value, message.shown))


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
