"""The line to a head: one connection, questions with answers, news of jobs. Knows no flow and no command.

An actor owns the connection; any thread asks and waits for its own answer. Once the line is lost every question, open
or new, ends in the same error.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import zmq
from pykka import ActorRef

from cluster.runtime.actor import Actor, stop, tell
from cluster.runtime.channel import Attach, ChannelLost, Context, ControlClient
from cluster.runtime.control import ControlMessage, InferenceAsk, InferenceCancel, InferenceReplies
from cluster.runtime.control_clients import (
    ClientToHead,
    CollectedNews,
    Declined,
    Goodbye,
    Greet,
    Greeting,
    HeadToClient,
    JobNews,
    LogNews,
    StillThere,
)
from cluster.runtime.scheduler import Condition, Scheduler, Threads
from sage.base.clock import Clock, SystemClock
from sage.base.codec import Codec
from sage.base.errors import ClusterUnreachable, SageError
from sage.base.ids import JobId, RequestId
from sage.base.inference import Failed, Failure, Last, ReplyTo, Request

A = TypeVar("A")

ANSWER_S = 10.0
"""The head never waits; one that is silent for so long is gone or overloaded."""

_LAST_WORDS_MS = 200
_STOP_S = 2.0
_STILL_THERE = "still there"


@dataclass(frozen=True, slots=True)
class LineLost:
    """Nothing more comes."""

    error: SageError


News = JobNews | CollectedNews | LogNews | LineLost
Listener = Callable[[News], None]
"""Takes the news of one job on the line's thread; must return at once."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """Send what `ask` makes of a new number, and give the answer, or the error instead of one, to `put`."""

    ask: Callable[[int], ControlMessage]
    put: Callable[[object], object]


@dataclass(frozen=True, slots=True)
class _Said:
    message: ClientToHead


@dataclass(frozen=True, slots=True)
class _Listening:
    job_id: JobId
    listener: Listener


@dataclass(frozen=True, slots=True)
class _Requested:
    requests: tuple[Request, ...]
    reply_to: ReplyTo


_Order = _Asked | _Said | _Listening | _Requested


class _Line(Actor[_Order]):
    """Owns the connection. Ends with it: whoever holds the line has to stop the actor all the same."""

    def __init__(self, attach: Attach, context: Context, clock: Clock, scheduler: Scheduler) -> None:
        super().__init__("line to the head", clock=clock, scheduler=scheduler)
        self._attach = attach
        self._zmq = context
        self._channel: ControlClient[HeadToClient] | None = None
        self._num_asked = 0
        self._open: dict[int, Callable[[object], object]] = {}
        self._listeners: dict[JobId, Listener] = {}
        self._askers: dict[RequestId, ReplyTo] = {}
        self._heartbeat_s: float | None = None
        self._lost: SageError | None = None

    def on_start(self) -> None:
        codec: Codec[HeadToClient] = Codec(HeadToClient)  # type: ignore[arg-type]  # a union is no class to mypy
        try:
            self._channel = ControlClient(self._zmq, codec, self._attach)
        except SageError as error:
            return self._lose(error)
        for fd in self._channel.fds():
            self.watch_fd(fd)

    def receive(self, message: _Order) -> None:
        match message:
            case _Asked(ask, put):
                self._num_asked += 1
                self._open[self._num_asked] = put
                self._send(ask(self._num_asked))
            case _Said(said):
                self._send(said)
            case _Listening(job_id, listener):
                self._listeners[job_id] = listener
                if self._lost is not None:
                    listener(LineLost(self._lost))
            case _Requested(requests, reply_to):
                self._askers.update({request.id: reply_to for request in requests})
                self._send(InferenceAsk(requests))
        self._drain()

    def on_readable(self, fd: int) -> None:
        self._drain()

    def on_timer(self, timer_id: Hashable) -> None:
        self._send(StillThere())
        self._drain()
        if self._heartbeat_s is not None:
            self.set_timer(_STILL_THERE, self._heartbeat_s)

    def on_stop(self) -> None:
        if self._channel is not None:
            self._channel.send(Goodbye())
            self._lose(ClusterUnreachable("the connection was closed", "Ask within the cluster's `with` block."))
            self._channel.close(last_words_ms=_LAST_WORDS_MS)
        self._zmq.term()

    def _send(self, message: ControlMessage) -> None:
        if self._channel is None or self._lost is not None:
            return self._fail_all(self._lost or ClusterUnreachable("there is no connection to a head"))
        if not self._channel.send(message):
            self._drain()  # where the loss is there to be read, that says more
            self._lose(ClusterUnreachable("the head takes no more messages", _SEE_HEAD))

    def _drain(self) -> None:
        if self._channel is None or self._lost is not None:
            return
        for came in self._channel.drain():
            if isinstance(came, ChannelLost):
                error = came.error
                self._lose(type(error)(error.what, error.do or _SEE_HEAD))
            else:
                self._take(came.message)

    def _take(self, message: HeadToClient) -> None:
        match message:
            case JobNews(state):
                self._tell(state.job_id, message)
            case CollectedNews(job_id) | LogNews(job_id):
                self._tell(job_id, message)
            case InferenceReplies(replies):
                for reply in replies:
                    is_last = isinstance(reply, Last)
                    asker = (self._askers.pop if is_last else self._askers.get)(reply.request_id, None)
                    if asker is not None:
                        asker([reply])
            case Declined(number, failure) if number is not None:
                self._answer(number, failure.error())
            case Declined(failure=failure):
                self._lose(failure.error())
            case Greeting(question, heartbeat_s=heartbeat_s):
                self._heartbeat_s = heartbeat_s
                self.set_timer(_STILL_THERE, heartbeat_s)
                self._answer(question, message)
            case _:
                self._answer(message.question, message)

    def _tell(self, job_id: JobId, news: News) -> None:
        listener = self._listeners.get(job_id)
        if listener is not None:
            listener(news)

    def _answer(self, number: int, answer: object) -> None:
        put = self._open.pop(number, None)
        if put is not None:
            put(answer)

    def _lose(self, error: SageError) -> None:
        """Take the first error as the one that counts, and let nobody wait for what will not come."""
        if self._lost is not None:
            return
        self._lost = error
        self.cancel_timer(_STILL_THERE)
        if self._channel is not None:
            for fd in self._channel.fds():
                self.unwatch_fd(fd)
        for listener in self._listeners.values():
            listener(LineLost(error))
        self._fail_all(error)

    def _fail_all(self, error: SageError) -> None:
        for number in list(self._open):
            self._answer(number, error)
        askers, self._askers = self._askers, {}
        for request_id, reply_to in askers.items():
            reply_to([Failed(request_id, Failure.of(error))])


_SEE_HEAD = "See whether it runs: sage-cluster status. Jobs that were submitted go on as long as it does."


class _Answers:
    """What came for one question: the first counts."""

    def __init__(self, changed: Condition) -> None:
        self._changed = changed
        self._came: list[object] = []

    @property
    def first(self) -> object:
        return self._came[0]

    def put(self, answer: object) -> None:
        with self._changed:
            self._came.append(answer)
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the first; say whether it came."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._came), timeout_s)


class HeadLine:
    """A line as every thread may use it; to be closed."""

    def __init__(
        self,
        attach: Attach,
        *,
        where: str,
        clock: Clock | None = None,
        scheduler: Scheduler | None = None,
        context: Context | None = None,
    ) -> None:
        """Connect by `attach`; `where` is the address, for errors. Whoever goes on greets the head first.

        `context`: of this line alone, which ends it; by default a new one.
        """
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.scheduler: Scheduler = scheduler if scheduler is not None else Threads()
        context = context if context is not None else zmq.Context(io_threads=1)
        self._ref: ActorRef[Any] = _Line.start(attach, context, self.clock, self.scheduler)
        self._where = where

    def greet(self, client: str, *, timeout_s: float = ANSWER_S) -> Greeting:
        """Be a client of the head, called so; closes the line where that fails.

        Raises: ClusterUnreachable where nobody answers in time, NotTrusted, and what the head declines clients by.
        """
        try:
            return self.ask(lambda number: Greet(number, client), Greeting, timeout_s=timeout_s)
        except BaseException:
            self.close()
            raise

    def ask(self, ask: Callable[[int], ControlMessage], expected: type[A], *, timeout_s: float = ANSWER_S) -> A:
        """Return the head's answer to `ask(number)`; raises what it declines by, or ClusterUnreachable."""
        answers = _Answers(self.scheduler.condition())
        if not tell(self._ref, _Asked(ask, answers.put)):
            raise ClusterUnreachable(f"the connection to {self._where} is closed", _SEE_HEAD)
        if not answers.wait(timeout_s):
            what = f"the cluster at {self._where} has not answered within {timeout_s:g} s"
            raise ClusterUnreachable(what, _SEE_HEAD)
        answer = answers.first
        if isinstance(answer, SageError):
            raise answer
        if not isinstance(answer, expected):
            raise ClusterUnreachable(f"the cluster at {self._where} answered by a {type(answer).__name__}", _SEE_HEAD)
        return answer

    def call(self, ask: Callable[[int], ControlMessage], put: Callable[[object], object]) -> None:
        """Ask without waiting; `put` takes the answer, or the error instead, on the line's thread."""
        if not tell(self._ref, _Asked(ask, put)):
            put(ClusterUnreachable(f"the connection to {self._where} is closed", _SEE_HEAD))

    def say(self, message: ClientToHead) -> None:
        """Send `message`, which has no answer."""
        tell(self._ref, _Said(message))

    def listen(self, job_id: JobId, listener: Listener) -> None:
        """Have `listener` take the news of a job, from before whatever is asked next."""
        tell(self._ref, _Listening(job_id, listener))

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        """Ask models; as `Inference.submit`."""
        if requests and not tell(self._ref, _Requested(tuple(requests), reply_to)):
            failure = Failure.of(ClusterUnreachable(f"the connection to {self._where} is closed", _SEE_HEAD))
            reply_to([Failed(request.id, failure) for request in requests])

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        """End requests; as `Inference.cancel`."""
        self.say(InferenceCancel(tuple(request_ids)))

    def close(self) -> None:
        """Say goodbye, and end the thread."""
        stop([self._ref], timeout_s=_STOP_S, clock=self.clock, scheduler=self.scheduler)
