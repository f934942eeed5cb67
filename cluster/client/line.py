"""The line to a head: questions with answers, news of jobs, for every thread. Knows no flow and no command.

An actor owns the connection; whoever asks waits for its own answer.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import zmq
from pykka import ActorRef

from cluster.client.connection import SEE_HEAD, Asked, Connection, Listener, Listening, Requested, Said
from cluster.runtime.actor import stop, tell
from cluster.runtime.channel import Attach, Context
from cluster.runtime.control import ControlMessage, InferenceCancel
from cluster.runtime.control_clients import ClientToHead, Greet, Greeting
from cluster.runtime.scheduler import Condition, Scheduler, Threads
from sage.base.clock import Clock, SystemClock
from sage.base.errors import ClusterUnreachable, SageError
from sage.base.ids import JobId, RequestId
from sage.base.inference import Failed, Failure, ReplyTo, Request

A = TypeVar("A")

ANSWER_S = 10.0
"""The head never waits; one that is silent for so long is gone or overloaded."""

_STOP_S = 2.0


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
        reconnect_s: float = 0.0,
        clock: Clock | None = None,
        scheduler: Scheduler | None = None,
        context: Context | None = None,
    ) -> None:
        """Connect by `attach`; `where` is the address, for errors. Whoever goes on greets the head first.

        `reconnect_s`: how long a head that was lost is looked for, where somebody listens to a job.
        `context`: of this line alone, which ends it; by default a new one.
        """
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.scheduler: Scheduler = scheduler if scheduler is not None else Threads()
        context = context if context is not None else zmq.Context(io_threads=1)
        self._ref: ActorRef[Any] = Connection.start(attach, where, reconnect_s, context, self.clock, self.scheduler)
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
        if not tell(self._ref, Asked(ask, answers.put)):
            raise ClusterUnreachable(f"the connection to {self._where} is closed", SEE_HEAD)
        if not answers.wait(timeout_s):
            what = f"the cluster at {self._where} has not answered within {timeout_s:g} s"
            raise ClusterUnreachable(what, SEE_HEAD)
        answer = answers.first
        if isinstance(answer, SageError):
            raise answer
        if not isinstance(answer, expected):
            raise ClusterUnreachable(f"the cluster at {self._where} answered by a {type(answer).__name__}", SEE_HEAD)
        return answer

    def call(self, ask: Callable[[int], ControlMessage], put: Callable[[object], object]) -> None:
        """Ask without waiting; `put` takes the answer, or the error instead, on the line's thread."""
        if not tell(self._ref, Asked(ask, put)):
            put(ClusterUnreachable(f"the connection to {self._where} is closed", SEE_HEAD))

    def say(self, message: ClientToHead) -> None:
        """Send `message`, which has no answer."""
        tell(self._ref, Said(message))

    def listen(self, job_id: JobId, listener: Listener) -> None:
        """Have `listener` take the news of a job, from before whatever is asked next."""
        tell(self._ref, Listening(job_id, listener))

    def listen_no_more(self, job_id: JobId) -> None:
        """Let nobody take the news of a job any more; of one that is over nobody does anyway."""
        tell(self._ref, Listening(job_id, None))

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        """Ask models; as `Inference.submit`."""
        if requests and not tell(self._ref, Requested(tuple(requests), reply_to)):
            failure = Failure.of(ClusterUnreachable(f"the connection to {self._where} is closed", SEE_HEAD))
            reply_to([Failed(request.id, failure) for request in requests])

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        """End requests; as `Inference.cancel`."""
        self.say(InferenceCancel(tuple(request_ids)))

    def close(self) -> None:
        """Say goodbye, and end the thread."""
        stop([self._ref], timeout_s=_STOP_S, clock=self.clock, scheduler=self.scheduler)
