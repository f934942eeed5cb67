"""What clients ask of a head, answered from its book, its members and its plane. Knows no socket.

Whatever takes long is handed on; the answer comes later.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pykka import ActorRef

from cluster.head.book import JobBook, JobEntry
from cluster.head.chat_desk import ChatDesk
from cluster.head.history import sha256_of
from cluster.head.log_desk import LogDesk
from cluster.head.model_desk import ModelDesk
from cluster.head.node_desk import NodeDesk
from cluster.head.state_desk import StateDesk
from cluster.head.submitter import PlaneOrdered, ServingBegun, Submission, SubmissionEnded
from cluster.jobs.orders import CancelJob, DeadLettersOf, ExplainJob, NodesNow, SavepointOf
from cluster.local.plane import ClusterPlane
from cluster.runtime.actor import ask, tell
from cluster.runtime.channel import PeerId
from cluster.runtime.control import ControlMessage, InferenceAsk, InferenceCancel
from cluster.runtime.control_clients import (
    CancelFlow,
    ClientToHead,
    CollectMore,
    DeadLetterList,
    Declined,
    Done,
    DrainNode,
    EngineList,
    ExplainFlow,
    Explanation,
    GetDeadLetters,
    GetJob,
    GetLogs,
    GetResults,
    Goodbye,
    Greet,
    Greeting,
    JobAnswer,
    JobList,
    JobNews,
    JobSubmitted,
    ListEngines,
    ListJobs,
    ListModels,
    ListNodes,
    Logs,
    ModelList,
    NodeList,
    Results,
    SavepointFlow,
    StillHere,
    StillThere,
    StopCluster,
    SubmitFlow,
    WatchJob,
)
from cluster.runtime.control_engine_log import GetEngineLog
from cluster.runtime.control_plane import (
    ChangePolicy,
    EndEngines,
    GetPlane,
    PlaneOrder,
    PlaneShown,
    ScaleEngines,
    ServeModel,
    StartEngine,
)
from cluster.runtime.control_state import GetState
from sage.base.clock import Clock
from sage.base.errors import ClusterUnreachable, JobInterrupted, NameTaken, SageError
from sage.base.ids import JobId, TaskId
from sage.base.inference import Failure, Kind

ANSWER_S = 5.0
NUM_LETTERS = 400  # of 30,000 characters at most: the newest fit in an answer
NUM_LINES = 1_000  # of 8,000 characters at most, likewise
LEASE_S = 10.0
"""A client that was silent for so long is forgotten; what it collected counts as taken."""


@dataclass(frozen=True, slots=True)
class SavepointEnded:
    """`error` None: it is there."""

    peer: PeerId
    question: int
    error: SageError | None


@dataclass(frozen=True, slots=True)
class ClientPorts:
    """What the desk works with, all on one thread.

    `disconnect` lets go of what is kept for a connection; `stop` begins the end of the cluster. `num_refused` says how
    many connections came to nothing. `tell_door` takes a SavepointEnded on any thread.
    """

    cluster: str
    pid: int
    book: JobBook
    chats: ChatDesk
    models: ModelDesk
    nodes: NodeDesk
    states: StateDesk
    logs: LogDesk
    plane: ClusterPlane
    manager: ActorRef[Any]
    submitter: ActorRef[Any]
    send: Callable[[PeerId, ControlMessage], object]
    disconnect: Callable[[PeerId], object]
    stop: Callable[[], object]
    num_refused: Callable[[], int]
    tell_door: Callable[[SavepointEnded], object]
    clock: Clock
    heartbeat_s: float
    epoch: int
    returns_within_s: float


class ClientDesk:
    """The clients of one head."""

    def __init__(self, ports: ClientPorts) -> None:
        self._ports = ports
        self._heard_s: dict[PeerId, float] = {}

    def knows(self, peer: PeerId) -> bool:
        return peer in self._heard_s

    def take(self, peer: PeerId, message: ClientToHead) -> None:
        """Answer `message`, now or later; only a Greet makes a stranger a client."""
        if isinstance(message, Greet):
            self._heard_s[peer] = self._ports.clock.monotonic_s()
        elif peer not in self._heard_s:
            failure = Failure.of(ClusterUnreachable("the head does not know this client any more", "Connect anew."))
            self._ports.send(peer, Declined(None, failure))
            return
        self._heard_s[peer] = self._ports.clock.monotonic_s()
        try:
            self._answer(peer, message)
        except SageError as error:
            self._ports.send(peer, Declined(_question_of(message), Failure.of(error)))

    def submitted(self, ended: SubmissionEnded) -> None:
        """Answer who submitted a job."""
        order, error = ended.submission.order, ended.error
        if error is None:
            self._ports.send(ended.submission.peer, JobSubmitted(order.question, order.job_id))
            return
        self._ports.book.drop(order.job_id)
        self._ports.send(ended.submission.peer, Declined(order.question, Failure.of(error)))

    def serving_begun(self, begun: ServingBegun) -> None:
        """Answer who is about to ask a model."""
        self._done(begun.wanted.peer, begun.wanted.order.question, begun.error)

    def savepoint_ended(self, ended: SavepointEnded) -> None:
        """Answer who wanted a savepoint."""
        self._done(ended.peer, ended.question, ended.error)

    def _done(self, peer: PeerId, question: int, error: SageError | None) -> None:
        self._ports.send(peer, Done(question) if error is None else Declined(question, Failure.of(error)))

    def forget(self, peer: PeerId, *, comes_back: bool = True) -> None:
        """Take back what was lent to a client that is gone; unknown ones are passed over."""
        if self._heard_s.pop(peer, None) is None:
            return
        self._ports.models.forget(peer)
        self._ports.disconnect(peer)
        until_s = self._ports.clock.monotonic_s() + self._ports.returns_within_s if comes_back else None
        for entry in self._ports.book.forget_client(peer):
            self._ports.nodes.give_credit(entry, entry.collected.left_by_collector(until_s))

    def forget_silent(self) -> None:
        """Forget clients that have not been heard for LEASE_S, and expect those no more that did not come back."""
        now_s = self._ports.clock.monotonic_s()
        for peer in [peer for peer, heard_s in self._heard_s.items() if heard_s < now_s - LEASE_S]:
            self.forget(peer)
        for entry in self._ports.book:
            self._ports.nodes.give_credit(entry, entry.collected.expect_no_longer(now_s))

    def __len__(self) -> int:
        return len(self._heard_s)

    def _answer(self, peer: PeerId, message: ClientToHead) -> None:
        ports = self._ports
        match message:
            case Greet(question):
                ports.send(peer, self._greeting(question))
            case SubmitFlow():
                self._submit(peer, message)
            case CollectMore(job_id, run_id, task_id, number):
                self._taken(job_id, run_id, task_id, number)
            case InferenceAsk(requests):
                ports.models.ask(peer, 0, requests)
            case InferenceCancel(request_ids):
                ports.models.cancel(peer, request_ids)
            case StillThere():
                ports.send(peer, StillHere())
            case Goodbye():
                self.forget(peer, comes_back=False)
            case DrainNode(question, node_id):
                ports.nodes.drain(node_id)
                ports.send(peer, Done(question))
            case StopCluster(question):
                ports.send(peer, Done(question))
                ports.stop()
            case ServeModel() | StartEngine() | EndEngines() | ScaleEngines():
                self._order_plane(peer, message)
            case GetPlane() | ChangePolicy():
                ports.send(peer, _plane_shown(ports.plane, message))
            case ListNodes() | ListEngines() | ListModels():
                ports.send(peer, self._listed(message))
            case GetState():
                ports.states.ask(peer, message)
            case GetEngineLog():
                ports.logs.ask(peer, message)
            case SavepointFlow(question, job_id, path):
                ports.book.entry(job_id)
                tell_door = ports.tell_door
                tell(ports.manager, SavepointOf(job_id, path, lambda e: tell_door(SavepointEnded(peer, question, e))))
            case _:
                self._answer_of_job(peer, message)

    def _order_plane(self, peer: PeerId, order: PlaneOrder) -> None:
        """Have engines tended; what answers as a model already needs none."""
        ports = self._ports
        if isinstance(order, ServeModel) and (
            ports.chats.answers_as(order.model) or _is_served(ports.plane, order.model, order.kind)
        ):
            ports.send(peer, Done(order.question))
        else:
            tell(ports.submitter, PlaneOrdered(peer, order))

    def _greeting(self, question: int) -> Greeting:
        ports = self._ports
        return Greeting(
            question,
            ports.cluster,
            ports.pid,
            ports.heartbeat_s,
            LEASE_S,
            ports.plane.models(),
            ports.epoch,
            ports.num_refused(),
        )

    def _listed(self, message: ListNodes | ListEngines | ListModels) -> ControlMessage:
        ports = self._ports
        match message:
            case ListNodes(question):
                views = ask(ports.manager, NodesNow(), timeout_s=ANSWER_S)
                return NodeList(question, ports.nodes.states({view.node_id: view for view in views}))
            case ListEngines(question):
                return EngineList(question, ports.plane.engines())
            case ListModels(question):
                return ModelList(question, ports.plane.models(), ports.chats.models())

    def _answer_of_job(
        self,
        peer: PeerId,
        message: CancelFlow | WatchJob | ListJobs | GetJob | ExplainFlow | GetDeadLetters | GetLogs | GetResults,
    ) -> None:
        ports, send = self._ports, self._ports.send
        match message:
            case ListJobs(question):
                send(peer, JobList(question, tuple(entry.state() for entry in ports.book)))
            case CancelFlow(question, job_id):
                ports.book.entry(job_id)
                tell(ports.manager, CancelJob(job_id))
                send(peer, Done(question))
            case WatchJob(question, job_id, collects):
                entry = ports.book.entry(job_id)
                entry.watchers[peer] = None
                send(peer, Done(question))
                for news in entry.collected.collected_by(peer) if collects else ():
                    send(peer, news)
                send(peer, JobNews(entry.state()))
            case GetJob(question, job_id):
                entry = ports.book.entry(job_id)
                send(peer, JobAnswer(question, entry.state(), entry.outline))
            case ExplainFlow(question, job_id):
                ports.book.entry(job_id)
                lines = ask(ports.manager, ExplainJob(job_id), timeout_s=ANSWER_S)
                send(peer, Explanation(question, tuple(lines)))
            case GetDeadLetters(question, job_id):
                self._check_letters(ports.book.entry(job_id))
                letters = ask(ports.manager, DeadLettersOf(job_id), timeout_s=ANSWER_S)
                send(peer, DeadLetterList(question, tuple(letters[-NUM_LETTERS:])))
            case GetResults(question, job_id, after):
                entry = ports.book.entry(job_id)
                pieces, next_after = entry.collected.page(after)
                send(peer, Results(question, entry.state(), pieces, entry.collected.num_dropped, next_after))
            case GetLogs(question, job_id, follow, after):
                entry = ports.book.entry(job_id)
                send(peer, Logs(question, entry.lines_after(after, NUM_LINES), entry.num_lines))
                if follow:
                    entry.followers[peer] = None

    def _submit(self, peer: PeerId, order: SubmitFlow) -> None:
        known = self._ports.book.find(order.job_id)
        if known is not None and (known.code_sha256, known.outline) != (
            sha256_of(order.code),
            order.outline,
        ):
            raise NameTaken(f"there is a job {order.job_id} already")
        if known is not None:
            self._ports.send(peer, JobSubmitted(order.question, order.job_id))
            return
        self._ports.chats.check(order.outline)
        self._ports.book.add(
            order.job_id,
            order.code,
            order.outline,
            submitted_unix_s=self._ports.clock.unix_s(),
            collector=peer if order.collects else None,
        )
        tell(self._ports.submitter, Submission(peer, order))

    def _taken(self, job_id: JobId, run_id: JobId, task_id: TaskId, number: int) -> None:
        entry = self._ports.book.find(job_id)
        if entry is not None and entry.run_id == run_id:
            self._ports.nodes.give_credit(entry, entry.collected.taken(task_id, number))

    def _check_letters(self, entry: JobEntry) -> None:
        if entry.code is None and entry.view.num_dead_letters:
            num = entry.view.num_dead_letters
            raise JobInterrupted(f"the {num} dead letters of {entry.job_id} were kept by a head that has ended")


def _plane_shown(plane: ClusterPlane, message: GetPlane | ChangePolicy) -> PlaneShown:
    if isinstance(message, ChangePolicy):
        plane.set_policy(message.policy, route=message.route)
    return PlaneShown(message.question, plane.state())


def _is_served(plane: ClusterPlane, model: str, kind: Kind) -> bool:
    return any(card.name == model and kind in card.kinds for card in plane.models())


def _question_of(message: ClientToHead) -> int | None:
    return getattr(message, "question", None)
