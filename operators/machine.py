"""The contract between an operator and the task that drives it. Knows neither threads nor transport.

A machine is driven by one thread. It opens nothing but its own sink or source, waits for nothing and reads no clock:
what it wants done it returns as commands, in the order in which they are to be done.
"""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from operators.read_times import ReadTimes
from operators.state import State
from sage.base.batch import Batch
from sage.base.ids import RequestId
from sage.base.inference import Reply, Request
from sage.flow.plan import Side


@dataclass(frozen=True, slots=True)
class Emit:
    """Send `batch` to every outgoing channel of the main stream, or to those of one side."""

    batch: Batch
    side: Side | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Submit `requests` to the control plane; their replies come back through `on_replies`."""

    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Cancel requests asked before."""

    request_ids: tuple[RequestId, ...]


class Call(NamedTuple):
    """Run the coroutine that `fn(value)` makes, for at most `timeout_s`; its outcome comes through `on_results`.

    It waits until fewer than `max_at_once` calls of the task have a permit. `has_permit`: it has that of the call that
    failed and is made again by this one.
    """

    call_id: int
    fn: Callable[[Any], Awaitable[Any]]
    value: Any
    timeout_s: float | None
    max_at_once: int | None = None
    has_permit: bool = False


class FreePermit(NamedTuple):
    """Let another call have the permit of one that failed and is not made again."""


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Call `on_timer(timer_id)` `after_s` seconds from now; a second timer of one id replaces the first."""

    timer_id: int
    after_s: float


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record set aside: what it was, which step raised, and how; `cause` is what it raised.

    `number`: it was the number-th record that came to the step, or to the fused steps around it; None: not counted.
    """

    step: str
    value: Any
    error: str
    traceback: str
    cause: BaseException | None = None
    number: int | None = None
    key: Hashable = None
    timestamp_s: float | None = None


Command = Emit | Ask | Withdraw | Call | FreePermit | SetTimer | DeadLetter


class CallResult(NamedTuple):
    """How a Call ended: exactly one of `value` and `error` counts; `error` None means that it returned."""

    call_id: int
    value: Any
    error: BaseException | None


@dataclass(slots=True)
class Counts:
    """What a machine has seen so far. Written by its own thread, read by others for progress: plain numbers only."""

    records_in: int = 0
    records_out: int = 0
    num_batches: int = 0
    num_requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    records_late: int = 0
    num_replayed: int = 0
    num_repeated: int = 0
    num_cached: int = 0
    num_unreadable: int = 0


@runtime_checkable
class Queryable(Protocol):
    """A machine with steps that keep something for each key."""

    def value_of(self, step: str, key: Hashable) -> Any:
        """Return what a step keeps of a key now, not copied; None where it keeps nothing. Raises UnknownState."""
        ...


@runtime_checkable
class FollowsPartitions(Protocol):
    """A machine that may be given what is read of a source by its partitions."""

    def follow(self, times: ReadTimes) -> None:
        """Let event time go by partitions; called before `open` or `restore`, where they are read apart."""
        ...


@runtime_checkable
class InParts(Protocol):
    """A machine that may have more to say than memory has room for: while it goes on, it takes no batch."""

    @property
    def goes_on(self) -> bool: ...

    def go_on(self) -> list[Command]:
        """Return the next part of what is to be said; called where nothing waits for credit, while it goes on."""
        ...


class Machine(Protocol):
    """An operator, or a fused chain of them.

    Raises RecordFailed (user's frame first) from any `on_*` where a record fails under `fail`: the job fails.
    """

    counts: Counts

    def open(self) -> None:
        """Start: open sinks; raises SinkUnwritable. Called once, before anything else, unless `restore` is."""
        ...

    def restore(self, state: State) -> list[Command]:
        """Start, in place of `open`, from what a snapshot says; what is to be done then is done before any record.

        Steps that `state` does not name start anew. Raises SinkUnwritable.
        """
        ...

    def snapshot(self) -> State:
        """Return what is held, records in flight included: `restore` goes on from there as if nothing had happened.

        Called between two other calls, also after `on_end`, and before `close`. Raises SinkUnwritable.
        """
        ...

    def room(self) -> int:
        """Return how many more records it takes now; the task holds batches back while this is 0 or less."""
        ...

    def on_batch(self, batch: Batch) -> list[Command]: ...

    def on_replies(self, replies: Sequence[Reply]) -> list[Command]: ...

    def on_results(self, results: Sequence[CallResult]) -> list[Command]: ...

    def on_timer(self, timer_id: int) -> list[Command]: ...

    def on_end(self) -> list[Command]:
        """Every input has ended; called once. Held state may be emitted; what is in flight still comes."""
        ...

    def is_done(self) -> bool:
        """Say whether nothing is in flight: after `on_end`, whether it may be closed."""
        ...

    def close(self, *, complete: bool) -> list[Command]:
        """Let go; called once. Where `complete` is False, what is in flight is withdrawn."""
        ...


@runtime_checkable
class LoopMachine(Machine, Protocol):
    """The beginning of a loop: is given what comes out of the loop's body apart from what comes in from before it."""

    def on_back(self, batch: Batch) -> list[Command]:
        """Take records that came back; called also while there is no room, and while output waits for credit."""
        ...

    def hold(self) -> None:
        """Until `release`, keep what comes back as it is: it belongs to the next snapshot."""
        ...

    def release(self) -> list[Command]:
        """Go on, with what was kept; without a `hold` before it nothing is done."""
        ...
