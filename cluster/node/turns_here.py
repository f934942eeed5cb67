"""The chat requests of the runs of one node: given by its member, read and answered by tasks on their own threads.

Knows no connection. What tasks say is gathered until the member takes it; the head bounds what is open.
"""

import threading
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from cluster.runtime.control import TurnsSaid
from operators.turns import TurnReader
from sage.base.clock import Clock
from sage.base.errors import SageError
from sage.base.ids import JobId, RequestId
from sage.base.inference import ChatRequest, Failure, Usage
from sage.base.turns import (
    Place,
    Reason,
    Turn,
    TurnFailed,
    TurnNews,
    TurnRecord,
    TurnShareEnded,
    TurnText,
    TurnUsed,
)
from sage.flow.chat import ChatSource, record_of

MAX_REMEMBERED = 10_000  # requests of a run that were withdrawn, or have a deadline: the newest; more than may be open
NEWS_CHARS = 256 * 1024  # of text that travel in one message, about

Kept = TypeVar("Kept")
Outgoing = list[tuple[JobId, TurnNews]]


class TurnsHere:
    """Made and given to by one thread; `of_run` is what the tasks of a run use."""

    def __init__(self, knock: Callable[[], object], clock: Clock) -> None:
        """`knock` has the member take what is `outgoing`; called on any thread, must not wait."""
        self._knock = knock
        self._clock = clock
        self._lock = threading.Lock()
        self._runs: dict[JobId, RunTurns] = {}
        self._outgoing: Outgoing = []

    def of_run(self, run_id: JobId) -> "RunTurns":
        """Return the requests of a run; on any thread."""
        with self._lock:
            if run_id not in self._runs:
                self._runs[run_id] = RunTurns(lambda news: self._say(run_id, news), self._clock)
            return self._runs[run_id]

    def end_run(self, run_id: JobId) -> None:
        """Forget a run that is over."""
        with self._lock:
            self._runs.pop(run_id, None)

    def outgoing(self) -> list[TurnsSaid]:
        """Return what tasks have said since the last call, a message a run or more."""
        with self._lock:
            said, self._outgoing = self._outgoing, []
        parts: list[TurnsSaid] = []
        for run_id in dict.fromkeys(run_id for run_id, _ in said):
            parts.extend(TurnsSaid(run_id, part) for part in _parts(news for at, news in said if at == run_id))
        return parts

    def _say(self, run_id: JobId, news: TurnNews) -> None:
        with self._lock:
            is_first = not self._outgoing
            self._outgoing.append((run_id, news))
        if is_first:
            self._knock()


def _parts(news: Iterable[TurnNews]) -> Iterable[tuple[TurnNews, ...]]:
    part: list[TurnNews] = []
    num_chars = 0
    for one in news:
        part.append(one)
        num_chars += len(one.text) if isinstance(one, TurnText) else 0
        if num_chars >= NEWS_CHARS:
            yield tuple(part)
            part, num_chars = [], 0
    if part:
        yield tuple(part)


@dataclass(slots=True)
class _Queue:
    waiting: deque[ChatRequest] = field(default_factory=deque)
    wake: Callable[[], object] | None = None


class RunTurns:
    """The requests of one run; the `ChatTurns` of its tasks."""

    def __init__(self, say: Callable[[TurnNews], None], clock: Clock) -> None:
        self._say = say
        self._clock = clock
        self._lock = threading.Lock()
        self._queues: defaultdict[str, _Queue] = defaultdict(_Queue)
        self._withdrawn: OrderedDict[RequestId, None] = OrderedDict()
        self._due_s: OrderedDict[RequestId, float] = OrderedDict()
        self._asked: defaultdict[RequestId, dict[RequestId, None]] = defaultdict(dict)

    # What the member does.

    def give(self, step: str, requests: Sequence[ChatRequest]) -> None:
        """Hand requests to the task that reads for `step`."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            queue = self._queues[step]
            queue.waiting.extend(requests)
            for request in requests:
                if request.timeout_s is not None:
                    _remember(self._due_s, request.id, now_s + request.timeout_s)
            wake = queue.wake
        if wake is not None:
            wake()

    def withdraw(self, turn_ids: Iterable[RequestId]) -> tuple[RequestId, ...]:
        """Let nobody work on these any more; return the requests to models that are to be cancelled."""
        gone = dict.fromkeys(turn_ids)
        with self._lock:
            for turn_id in gone:
                _remember(self._withdrawn, turn_id, None)
                self._due_s.pop(turn_id, None)
            for queue in self._queues.values():
                queue.waiting = deque(request for request in queue.waiting if request.id not in gone)
            return tuple(request_id for turn_id in gone for request_id in self._asked.pop(turn_id, ()))

    # What tasks do.

    def reader(self, step: str, source: ChatSource) -> TurnReader:
        return _Reader(self, step, source.num_ways)

    def is_open(self, turn: Turn) -> bool:
        return turn.id not in self._withdrawn

    def left_s(self, turn: Turn) -> float | None:
        due_s = self._due_s.get(turn.id)
        return turn.timeout_s if due_s is None else due_s - self._clock.monotonic_s()

    def asks(self, turn: Turn, request_id: RequestId) -> None:
        with self._lock:
            self._asked[turn.id][request_id] = None

    def answered(self, turn: Turn, request_id: RequestId, usage: Usage | None) -> None:
        with self._lock:
            asked = self._asked.get(turn.id, {})
            asked.pop(request_id, None)
            if not asked:
                self._asked.pop(turn.id, None)
        if usage is not None:
            self._say(TurnUsed(turn.id, usage))

    def say(self, record: TurnRecord, speaker: str, text: str) -> None:
        if text and self.is_open(record.turn):
            self._say(TurnText(record.turn.id, record.place, speaker, text))

    def end(self, record: TurnRecord, speaker: str, reason: Reason) -> None:
        self._end(record, speaker, reason)

    def leave(self, record: TurnRecord, num_ways: int) -> None:
        for _ in range(num_ways):
            self._end(record, "", None)

    def fail(self, turn: Turn, error: SageError) -> None:
        if self.is_open(turn):
            self._say(TurnFailed(turn.id, Failure.of(error)))

    def _end(self, record: TurnRecord, speaker: str, reason: Reason | None) -> None:
        if self.is_open(record.turn):
            self._say(TurnShareEnded(record.turn.id, record.place, speaker, reason))

    # What the reader does.

    def take(self, step: str, max_requests: int) -> list[ChatRequest]:
        with self._lock:
            waiting = self._queues[step].waiting
            return [waiting.popleft() for _ in range(min(max_requests, len(waiting)))]

    def wake_by(self, step: str, wake: Callable[[], object] | None) -> None:
        with self._lock:
            self._queues[step].wake = wake


@dataclass(frozen=True, slots=True)
class _Reader:
    turns: RunTurns
    step: str
    num_ways: int

    def wake_by(self, wake: Callable[[], object]) -> None:
        self.turns.wake_by(self.step, wake)

    def read(self, max_records: int) -> list[TurnRecord]:
        requests = self.turns.take(self.step, max_records)
        return [TurnRecord(_turn(request), record_of(request), Place(self.num_ways)) for request in requests]

    def position(self) -> None:
        """Requests end with the run that has read them: there is nothing to go back to."""

    def close(self) -> None:
        self.turns.wake_by(self.step, None)


def _turn(request: ChatRequest) -> Turn:
    sampling = request.sampling
    return Turn(
        request.id, request.service_class, request.tenant, request.timeout_s, sampling.max_tokens, sampling.stop
    )


def _remember(entries: "OrderedDict[RequestId, Kept]", turn_id: RequestId, value: "Kept") -> None:
    entries[turn_id] = value
    if len(entries) > MAX_REMEMBERED:
        entries.popitem(last=False)
