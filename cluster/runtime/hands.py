"""How a task does what its drive asks: over transport, control plane and event loop. Knows nothing of why."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cluster.runtime.call_book import CallBook
from cluster.runtime.call_cache import CachedCalls
from cluster.runtime.call_queue import num_permits_left
from cluster.runtime.coroutines import Coroutines, Results
from cluster.runtime.drive_ports import Workshop
from cluster.runtime.gauge import Gauge
from cluster.runtime.links import TaskMessage
from cluster.runtime.messages import TaskFact, TaskSpec
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.saving import StateKeeper
from cluster.runtime.scheduler import Scheduler, Threads
from cluster.runtime.transport import Transport
from operators.machine import Call, CallResult, DeadLetter
from sage.base.clock import Clock
from sage.base.errors import InternalError
from sage.base.ids import RequestId, TaskId
from sage.base.inference import Inference, Reply, ReplyTo, Request
from sage.base.settings import RuntimeSettings
from sage.flow.runner import DeadLetterRecord

KeepLetter = Callable[[TaskSpec, DeadLetterRecord, DeadLetter], object]


@dataclass(frozen=True, slots=True)
class TaskPorts:
    """What a node lends to its tasks. `report` takes facts on the task's thread, without waiting.

    `keeper_for`: who keeps what a task holds; None: nobody. `keep_letter`: likewise dead letters, on the task's thread.
    `types`: those classes of the flow whose instances can be kept.
    """

    transport: Transport
    coroutines: Coroutines
    inference: Inference | None
    workshop: Workshop
    report: Callable[[TaskFact], None]
    settings: RuntimeSettings
    clock: Clock
    scheduler: Scheduler = field(default_factory=Threads)
    keeper_for: Callable[[TaskSpec], StateKeeper] | None = None
    keep_letter: KeepLetter | None = None
    types: RecordTypes = field(default_factory=RecordTypes)


@dataclass(frozen=True, slots=True)
class TaskHands:
    """The hands of one task. `reply_to`, `results` and `notify` are called on other threads."""

    spec: TaskSpec
    ports: TaskPorts
    reply_to: ReplyTo
    results: Results
    start_timer: Callable[[int, float], None]
    notify: Callable[[], None]
    gauge: Gauge
    book: CallBook | None = None
    cache: CachedCalls | None = None

    def send(self, message: TaskMessage) -> bool:
        return self.ports.transport.send(message)

    def ask(self, requests: Sequence[Request]) -> None:
        if self.ports.inference is None:
            raise InternalError(f"task {self.task_id} asks for a model and its node has no control plane")
        if self.book is not None:
            requests, known = self.book.ask(requests, self.gauge.counts)
            self.reply_to(known)
        if self.cache is not None and requests:
            requests, known = self.cache.models.ask(requests, self.gauge.counts)
            self.reply_to(known)
        if requests:
            self.ports.inference.submit(requests, self.reply_to)

    def heard(self, replies: Sequence[Reply]) -> Sequence[Reply]:
        """Return `replies` as the machine is to be given them."""
        if self.cache is not None:
            replies = self.cache.models.hear(replies)
        return self.book.hear(replies) if self.book is not None else replies

    def returned(self, results: Sequence[CallResult]) -> Sequence[CallResult]:
        """Return `results` as the machine is to be given them."""
        if self.cache is not None:
            self.cache.returned(results)
        return results

    def withdraw(self, request_ids: Sequence[RequestId]) -> None:
        for book in (self.book, self.cache.models if self.cache is not None else None):
            if book is not None:
                book.withdraw(request_ids)
        if self.ports.inference is not None:
            self.ports.inference.cancel(request_ids)

    def call(self, calls: Sequence[Call]) -> None:
        if self.cache is not None:
            left, known = self.cache.call(calls, self.gauge.counts)
            self.results(known)
            self.free(num_permits_left(calls, left))
            calls = left
        if calls:
            self.ports.coroutines.start(self.task_id, calls, self.results)

    def free(self, num_permits: int) -> None:
        if num_permits:
            self.ports.coroutines.free(self.task_id, num_permits)

    def set_timer(self, timer_id: int, after_s: float) -> None:
        self.start_timer(timer_id, after_s)

    def wake(self) -> None:
        self.notify()

    @property
    def task_id(self) -> TaskId:
        return self.spec.id

    def keep_letter(self, record: DeadLetterRecord, letter: DeadLetter) -> None:
        if self.ports.keep_letter is not None:
            self.ports.keep_letter(self.spec, record, letter)

    def report(self, fact: TaskFact) -> None:
        self.ports.report(fact)
