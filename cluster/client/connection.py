"""Connection: the actor that holds a client's connection to its head. Knows no flow and no command.

Where it breaks while somebody listens to a job, another one is made as soon as a head is there again, and open
questions are asked anew. Once it is lost for good every question, open or new, ends in the same error.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from cluster.client.away import Away
from cluster.runtime.actor import Actor
from cluster.runtime.channel import Attach, ChannelLost, Context, ControlClient
from cluster.runtime.control import ControlMessage, InferenceAsk, InferenceReplies
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
    StillHere,
    StillThere,
)
from cluster.runtime.scheduler import Scheduler
from sage.base.clock import Clock
from sage.base.codec import Codec
from sage.base.errors import ClusterUnreachable, SageError
from sage.base.ids import JobId, RequestId
from sage.base.inference import Failed, Failure, Last, ReplyTo, Request
from sage.base.log import get_log

SEE_HEAD = "See whether it runs: sage-cluster status. Jobs that were submitted go on as long as it does."

GREET_S = 2.0
"""A head that is looked for again, and has not greeted for so long, is looked for once more."""

_LAST_WORDS_MS = 200
_STILL_THERE, _RETURN = "still there", "return"


@dataclass(frozen=True, slots=True)
class LineLost:
    """Nothing more comes."""

    error: SageError


@dataclass(frozen=True, slots=True)
class LineReturned:
    """Another connection stands: nothing comes of the job until it is asked for anew. `epoch`: that of the head."""

    epoch: int


News = JobNews | CollectedNews | LogNews | LineReturned | LineLost
Listener = Callable[[News], None]
"""Takes the news of one job on the line's thread; must return at once."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Send what `ask` makes of a new number, and give the answer, or the error instead of one, to `put`."""

    ask: Callable[[int], ControlMessage]
    put: Callable[[object], object]


@dataclass(frozen=True, slots=True)
class Said:
    message: ClientToHead


@dataclass(frozen=True, slots=True)
class Listening:
    """`listener` None: nobody does any more."""

    job_id: JobId
    listener: Listener | None


@dataclass(frozen=True, slots=True)
class Requested:
    requests: tuple[Request, ...]
    reply_to: ReplyTo


Order = Asked | Said | Listening | Requested


class Connection(Actor[Order]):
    """Owns the connection. Ends with it: whoever holds the line has to stop the actor all the same."""

    def __init__(
        self, attach: Attach, where: str, reconnect_s: float, context: Context, clock: Clock, scheduler: Scheduler
    ) -> None:
        """`where` is the address, for people; `reconnect_s`: how long a head that was lost is looked for."""
        super().__init__("line to the head", clock=clock, scheduler=scheduler)
        self._attach = attach
        self._where = where
        self._zmq = context
        self._channel: ControlClient[HeadToClient] | None = None
        self._num_asked = 0
        self._open: dict[int, Asked] = {}
        self._listeners: dict[JobId, Listener] = {}
        self._askers: dict[RequestId, ReplyTo] = {}
        self._greet: Greet | None = None
        self._greeting: Greeting | None = None
        self._heard_s = 0.0
        self._away = Away(reconnect_s)
        self._lost: SageError | None = None

    def on_start(self) -> None:
        try:
            self._connect()
        except SageError as error:
            self._lose(error)

    def receive(self, message: Order) -> None:
        match message:
            case Asked():
                self._num_asked += 1
                self._open[self._num_asked] = message
                self._say(message.ask(self._num_asked))
            case Said(said):
                self._say(said)
            case Listening(job_id, None):
                self._listeners.pop(job_id, None)
            case Listening(job_id, listener):
                self._listen(job_id, listener)
            case Requested(requests, reply_to):
                self._askers.update({request.id: reply_to for request in requests})
                self._say(InferenceAsk(requests))
        self._drain()

    def on_readable(self, fd: int) -> None:
        self._drain()

    def on_timer(self, timer_id: Hashable) -> None:
        if timer_id == _RETURN:
            return self._look_again()
        self._drain()
        if self._lost is None and not self._away.is_away and self._greeting is not None:
            self._stay_in_touch(self._greeting)

    def on_stop(self) -> None:
        if self._channel is not None:
            self._channel.send(Goodbye())
        self._lose(ClusterUnreachable("the connection was closed", "Ask within the cluster's `with` block."))
        if self._channel is not None:
            self._channel.close(last_words_ms=_LAST_WORDS_MS)
        self._zmq.term()

    def _listen(self, job_id: JobId, listener: Listener | None) -> None:
        assert listener is not None
        self._listeners[job_id] = listener
        if self._lost is not None:
            listener(LineLost(self._lost))

    # The connection.

    def _connect(self) -> None:
        codec: Codec[HeadToClient] = Codec(HeadToClient)  # type: ignore[arg-type]  # a union is no class to mypy
        self._channel = ControlClient(self._zmq, codec, self._attach)
        for fd in self._channel.fds():
            self.watch_fd(fd)

    def _disconnect(self) -> None:
        if self._channel is not None:
            for fd in self._channel.fds():
                self.unwatch_fd(fd)
            self._channel.close()
            self._channel = None

    def _say(self, message: ControlMessage) -> None:
        """Send; while the head is looked for questions wait, requests to models fail, and all else is dropped."""
        if isinstance(message, Greet):
            self._greet = message
        if self._lost is not None:
            self._fail_all(self._lost)
        elif self._away.is_away:
            self._fail_askers(ClusterUnreachable(f"the head at {self._where} is looked for again", SEE_HEAD))
        else:
            self._send(message)

    def _send(self, message: ControlMessage) -> None:
        channel = self._channel
        if channel is None or channel.send(message):
            return
        self._drain()  # where the loss is there to be read, that says more
        if self._channel is channel:
            self._break(ClusterUnreachable("the head takes no more messages", SEE_HEAD))

    def _drain(self) -> None:
        channel = self._channel
        if channel is None or self._lost is not None:
            return
        for came in channel.drain():
            if isinstance(came, ChannelLost):
                error = came.error
                self._break(type(error)(error.what, error.do or SEE_HEAD))
            else:
                self._heard_s = self.clock.monotonic_s()
                self._take(came.message)
            if self._channel is not channel:
                return

    def _stay_in_touch(self, greeting: Greeting) -> None:
        silent_s = self.clock.monotonic_s() - self._heard_s
        if silent_s > greeting.lease_s:
            return self._break(ClusterUnreachable(f"the head has said nothing for {silent_s:.0f} s", SEE_HEAD))
        self.set_timer(_STILL_THERE, greeting.heartbeat_s)
        self._send(StillThere())
        self._drain()

    # A head that was lost.

    def _break(self, error: SageError) -> None:
        """Look for the head again where somebody waits for a job; else all is lost."""
        if self._lost is not None:
            return
        now_s = self.clock.monotonic_s()
        is_worth_it = isinstance(error, ClusterUnreachable) and self._greeting is not None and bool(self._listeners)
        if not is_worth_it or not self._away.may_try(now_s):
            return self._lose(self._away.told(error, self._where))
        if not self._away.is_away:
            get_log().warning("cluster lost, looking for it again", where=self._where, why=error.what)
        self.cancel_timer(_STILL_THERE)
        self._fail_askers(error)
        self._disconnect()
        self.set_timer(_RETURN, self._away.leave(now_s))

    def _look_again(self) -> None:
        """Connect and greet; or, where a head was greeted and has not answered, begin once more."""
        if self._lost is not None or not self._away.is_away or self._greet is None:
            return
        if self._channel is not None:
            return self._break(ClusterUnreachable("the head has not answered", SEE_HEAD))
        try:
            self._connect()
        except SageError as error:
            return self._break(ClusterUnreachable(error.what, error.do))
        self.set_timer(_RETURN, GREET_S)
        self._send(self._greet)
        self._drain()

    def _greeted(self, greeting: Greeting) -> None:
        self._greeting = greeting
        self.set_timer(_STILL_THERE, greeting.heartbeat_s)
        if not self._away.is_away:
            return
        self._away.returned()
        self.cancel_timer(_RETURN)
        get_log().warning("cluster found again", where=self._where, head=greeting.pid)
        for listener in tuple(self._listeners.values()):
            listener(LineReturned(greeting.epoch))
        for number, asked in tuple(self._open.items()):
            self._send(asked.ask(number))

    # What the head says.

    def _take(self, message: HeadToClient) -> None:
        match message:
            case StillHere():
                pass
            case JobNews(state):
                self._tell(state.job_id, message)
                if state.is_over:
                    self._listeners.pop(state.job_id, None)
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
                self._break(failure.error())
            case Greeting(question):
                self._answer(question, message)
                self._greeted(message)
            case _:
                self._answer(message.question, message)

    def _tell(self, job_id: JobId, news: News) -> None:
        listener = self._listeners.get(job_id)
        if listener is not None:
            listener(news)

    def _answer(self, number: int, answer: object) -> None:
        asked = self._open.pop(number, None)
        if asked is not None:
            asked.put(answer)

    def _lose(self, error: SageError) -> None:
        """Take the first error as the one that counts, and let nobody wait for what will not come."""
        if self._lost is not None:
            return
        self._lost = error
        self.cancel_timer(_STILL_THERE)
        self.cancel_timer(_RETURN)
        if self._channel is not None:
            for fd in self._channel.fds():
                self.unwatch_fd(fd)
        for listener in tuple(self._listeners.values()):
            listener(LineLost(error))
        self._fail_all(error)

    def _fail_all(self, error: SageError) -> None:
        for number in list(self._open):
            self._answer(number, error)
        self._fail_askers(error)

    def _fail_askers(self, error: SageError) -> None:
        """Answer requests to models: what was begun to be generated is not asked for twice."""
        askers, self._askers = self._askers, {}
        for request_id, reply_to in askers.items():
            reply_to([Failed(request_id, Failure.of(error))])
