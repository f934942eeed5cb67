"""Chat requests to the flows of a cluster: to the node that reads them, and their answers back. Knows no socket.

Every request ends in one reply: by its answer, an error, its deadline, or the end of the run that worked on it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from cluster.head.book import JobBook, JobEntry
from cluster.head.turn_answer import TurnAnswer
from cluster.runtime.control import ControlMessage, TurnsAsked, TurnsWithdrawn
from cluster.runtime.control_clients import ChatModel
from cluster.runtime.job_outline import PlanOutline
from sage.base.clock import Clock
from sage.base.errors import (
    DeadlineExceeded,
    InvalidRequest,
    NameTaken,
    NoEngine,
    NotAnswered,
    Overloaded,
    RequestCancelled,
    SageError,
)
from sage.base.ids import EngineId, JobId, NodeId, RequestId
from sage.base.inference import ChatRequest, Failed, Failure, Finished, ReplyTo, Request, Token
from sage.base.settings import ChatSettings
from sage.base.turns import TurnFailed, TurnNews, TurnShareEnded, TurnText, TurnUsed

RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class ChatPorts:
    """What the desk works with, all on one thread. `wake_at` has `on_due` called then; a later call replaces it.

    `send` takes an order for a node. `is_model`: whether engines serve, or could serve, a model of this name.
    """

    book: JobBook
    send: Callable[[NodeId, ControlMessage], object]
    wake_at: Callable[[float], object]
    is_model: Callable[[str], bool]
    settings: ChatSettings
    clock: Clock


@dataclass(slots=True)
class _OpenTurn:
    request: ChatRequest
    reply_to: ReplyTo
    job_id: JobId
    run_id: JobId
    due_s: float
    num_bytes: int = 0
    answer: TurnAnswer = field(default_factory=TurnAnswer)


class ChatDesk:
    """The flows of one head that are asked as models."""

    def __init__(self, ports: ChatPorts) -> None:
        self._ports = ports
        self._open: dict[RequestId, _OpenTurn] = {}
        self._num_open: dict[JobId, int] = {}

    def check(self, outline: PlanOutline) -> None:
        """Raise NameTaken where a flow would answer as a model that there is already."""
        for name in outline.chats():
            if self._ports.is_model(name):
                raise NameTaken(f"{name!r} is a model of this cluster", "Give from_chat another name.")
            if (entry := self._ports.book.answering(name)) is not None:
                what = f"the flow {entry.outline.name!r} (job {entry.job_id}) answers as {name!r}"
                raise NameTaken(what, f"Give from_chat another name, or cancel it: sage-cluster cancel {entry.job_id}.")

    def answers_as(self, model: str) -> bool:
        """Say whether a job that is not over is asked by this name."""
        return self._ports.book.answering(model) is not None

    def models(self) -> tuple[ChatModel, ...]:
        return tuple(
            ChatModel(
                name,
                entry.job_id,
                entry.outline.name,
                entry.outline.asks(),
                entry.submitted_unix_s,
                entry.is_answering,
                self._num_open.get(entry.job_id, 0),
            )
            for entry in self._ports.book.live()
            for name in entry.outline.chats()
        )

    # Requests.

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        """Take requests whose models are flows of this desk; as `Inference.submit`."""
        for request in requests:
            try:
                self._admit(request, reply_to)
            except SageError as error:
                reply_to([Failed(request.id, Failure.of(error))])

    def cancel(self, request_ids: Iterable[RequestId]) -> None:
        """End requests that nobody waits for any more; unknown ones are passed over."""
        for request_id in request_ids:
            if (turn := self._open.get(request_id)) is not None:
                self._fail(turn, RequestCancelled("the request was cancelled by whoever asked"))

    def has(self, request_id: RequestId) -> bool:
        return request_id in self._open

    def _admit(self, request: Request, reply_to: ReplyTo) -> None:
        entry = self._ports.book.answering(request.model)
        if not isinstance(request, ChatRequest):
            what = f"{request.model!r} is a flow, which takes chat messages only"
            raise InvalidRequest(what, "POST /v1/chat/completions.", param="model")
        if entry is None or not entry.is_answering:
            raise NoEngine(f"the flow that answers as {request.model!r} does not run yet", retry_after_s=RETRY_S)
        if request.id in self._open:
            raise InvalidRequest(f"a request with the id {request.id!r} is still being worked on", param="id")
        max_open = self._ports.settings.max_open
        if self._num_open.get(entry.job_id, 0) >= max_open:
            what = f"the flow that answers as {request.model!r} works on {max_open} requests"
            raise Overloaded(what, f"Try again in {RETRY_S:g} s.", retry_after_s=RETRY_S)
        step = entry.outline.chats()[request.model]
        longest_s = self._ports.settings.max_turn_s
        wait_s = longest_s if request.timeout_s is None else min(request.timeout_s, longest_s)
        due_s = self._ports.clock.monotonic_s() + wait_s
        self._ports.send(entry.node_of_chain(step), TurnsAsked(entry.run_id, step, (request,)))
        self._open[request.id] = _OpenTurn(request, reply_to, entry.job_id, entry.run_id, due_s)
        self._num_open[entry.job_id] = self._num_open.get(entry.job_id, 0) + 1
        self._wake()

    # Answers.

    def hear(self, run_id: JobId, news: Sequence[TurnNews]) -> None:
        """Take what a node says of requests; what is over is passed over."""
        for one in news:
            turn = self._open.get(one.turn_id)
            if turn is not None and turn.run_id == run_id:
                self._hear(turn, one)

    def _hear(self, turn: _OpenTurn, news: TurnNews) -> None:
        match news:
            case TurnText(text=text):
                turn.num_bytes += len(text.encode("utf-8", "replace"))
                if turn.num_bytes > self._ports.settings.max_answer_bytes:
                    return self._fail(turn, _too_long(turn.request, self._ports.settings.max_answer_bytes))
                self._pass_on(turn, turn.answer.said(news))
            case TurnShareEnded():
                self._pass_on(turn, turn.answer.share_ended(news))
                if turn.answer.is_whole:
                    self._finish(turn)
            case TurnUsed(usage=usage):
                turn.answer.used(usage)
            case TurnFailed(failure=failure):
                self._fail(turn, failure.error())

    def _pass_on(self, turn: _OpenTurn, texts: Sequence[str]) -> None:
        if texts:
            turn.reply_to([Token(turn.request.id, text) for text in texts])

    def _finish(self, turn: _OpenTurn) -> None:
        request, answer = turn.request, turn.answer
        if not answer.has_reply:
            what = f"the flow that answers as {request.model!r} took the request and gave no reply"
            return self._fail(turn, NotAnswered(what, "Its steps left it away: ask something else."))
        self._forget(turn)
        turn.reply_to([Finished(request.id, answer.reason, answer.usage, EngineId(str(turn.job_id)))])

    def _fail(self, turn: _OpenTurn, error: SageError) -> None:
        """End a request by an error, and have the nodes work on it no more."""
        self._forget(turn)
        entry = self._ports.book.find(turn.job_id)
        if entry is not None and entry.run_id == turn.run_id:
            for node_id in dict.fromkeys(entry.nodes.values()):
                self._ports.send(node_id, TurnsWithdrawn(turn.run_id, (turn.request.id,)))
        turn.reply_to([Failed(turn.request.id, Failure.of(error))])

    def _forget(self, turn: _OpenTurn) -> None:
        del self._open[turn.request.id]
        self._num_open[turn.job_id] -= 1
        if not self._num_open[turn.job_id]:
            del self._num_open[turn.job_id]

    # What else may end them.

    def job_changed(self, entry: JobEntry) -> None:
        """End the requests on which a run worked that is over, or is about to be."""
        if entry.job_id not in self._num_open:
            return
        error = NoEngine(f"the flow {entry.outline.name!r} ended before it had answered", retry_after_s=RETRY_S)
        for turn in [turn for turn in self._open.values() if turn.job_id == entry.job_id]:
            if turn.run_id != entry.run_id or not entry.is_answering:
                self._fail(turn, error)

    def run_ends(self, run_id: JobId) -> None:
        """End the requests of a run that is told to stop."""
        error = NoEngine("the flow was stopped before it had answered", retry_after_s=RETRY_S)
        for turn in [turn for turn in self._open.values() if turn.run_id == run_id]:
            self._fail(turn, error)

    def on_due(self) -> None:
        """End the requests whose time is over."""
        now_s = self._ports.clock.monotonic_s()
        for turn in [turn for turn in self._open.values() if turn.due_s <= now_s]:
            what = f"the flow that answers as {turn.request.model!r} did not answer in time"
            self._fail(turn, DeadlineExceeded(what))
        self._wake()

    def _wake(self) -> None:
        if self._open:
            self._ports.wake_at(min(turn.due_s for turn in self._open.values()))


def _too_long(request: ChatRequest, max_bytes: int) -> SageError:
    what = f"the flow that answers as {request.model!r} said more than {max_bytes:,} bytes"
    return InvalidRequest(what, "Ask for a shorter answer; chat.max_answer_bytes is the bound.")
