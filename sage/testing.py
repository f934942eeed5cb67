"""For tests of flows: virtual time, sources that follow a script, functions that fail as told. Knows no runner.

>>> import sage
>>> from sage.testing import Failing, Scripted
>>> flow = sage.Flow("prices")
>>> parse = Failing(float, ValueError("no price"), where=lambda text: text == "?")
>>> found = flow.from_source(Scripted(["1.5", "?"], ["2"])).map(parse).on_error("dead_letter").collect()
>>> flow.run(timeout_s=60).dead_letters, found.items
(1, [1.5, 2.0])
"""

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import iscoroutinefunction
from types import MappingProxyType
from typing import Any, Generic, TypeVar, cast

from sage.base.entry_points import find_entry_points
from sage.base.errors import FlowInvalid, UnknownAddress
from sage.flow.check_numbers import counts, required, whole_numbers, yes_or_no
from sage.flow.given import refuse
from sage.flow.rehearsal import Model, Rehearsal, StartRehearsal
from sage.flow.runner import Submittable
from sage.flow.where import refusal

T = TypeVar("T")
U = TypeVar("U")


_NO_MODELS: Mapping[str, Model] = MappingProxyType({})


def rehearse(
    flow: Submittable,
    *,
    seed: int = 0,
    models: Mapping[str, Model] = _NO_MODELS,
    checkpoints: bool = False,
    batch_records: int = 4,
) -> Rehearsal:
    """Run `flow` without threads, in virtual time, in an order that is drawn from `seed`: each time the same.

    Nothing happens before the first `settle`, `advance` or `finish`. `models`: a function of the text for each model
    that is asked. With `checkpoints` it keeps what the flow holds at each `checkpoint()`, and `crash()` goes on from
    there. At most `batch_records` travel together. Raises FlowInvalid for what cannot be rehearsed.

    >>> import sage
    >>> from sage.testing import Pause, Scripted, rehearse
    >>> flow = sage.Flow("answers")
    >>> answers = flow.from_source(Scripted(["a"], Pause(60), ["b"])).generate(model="small", prompt="{}").collect()
    >>> with rehearse(flow, models={"small": str.upper}) as run:
    ...     run.advance(59)
    ...     print(answers.items)
    ...     run.advance(1)
    ...     print(answers.items)
    ['A']
    ['A', 'B']
    """
    given: object = flow
    if not callable(getattr(given, "graph", None)):
        raise refusal(f"rehearse takes a flow, got {given!r:.80}", "Write rehearse(flow).", param="flow")
    refuse(
        (
            *required(batch_records=batch_records, seed=seed),
            *counts(batch_records=batch_records),
            *whole_numbers(seed=seed),
            *yes_or_no(checkpoints=checkpoints),
        )
    )
    offers = find_entry_points("sage.testing")
    if "rehearse" not in offers:
        what = "no installed package rehearses flows"
        raise UnknownAddress(what, "pip install sage-engine, or pip install -e . in its folder.")
    start = cast(StartRehearsal, offers["rehearse"].load())
    return start(flow.graph(), seed=seed, models=models, checkpoints=checkpoints, batch_records=batch_records)


@dataclass(frozen=True, slots=True)
class Pause:
    """In a script: nothing comes for so many seconds, of virtual time in a rehearsal."""

    seconds: float

    def __post_init__(self) -> None:
        """Raises FlowInvalid."""
        if not 0 <= self.seconds < math.inf:
            raise refusal(f"a pause takes a time, got {self.seconds!r} s", param="seconds")


@dataclass(frozen=True, slots=True)
class Watermark:
    """In a script of a source with `timestamp=`: no record older than `time_s` is to be expected any more."""

    time_s: float

    def __post_init__(self) -> None:
        """Raises FlowInvalid."""
        if not math.isfinite(self.time_s):
            raise refusal(f"{self.time_s!r} is no event time for a watermark", param="time_s")


Move = Sequence[T] | Pause | Watermark | Exception


class Scripted(Generic[T]):
    """A source: each list is read at once, and each exception is raised by the read that comes to it, every time.

    A Pause lets time go by, a Watermark says how far event time is. The source says where it is, so that a run with
    checkpoints goes on there; give it another script for the next run.

    >>> list(Scripted([1, 2], [3]).open().read(10))
    [1, 2]
    """

    def __init__(self, *moves: Move[T]) -> None:
        self._moves = moves

    def open(self) -> "ScriptedReader[T]":
        return self.open_at([0, 0])

    def open_at(self, position: Sequence[int]) -> "ScriptedReader[T]":
        return ScriptedReader(self._moves, *position)


class ScriptedReader(Generic[T]):
    """One reading of a script."""

    def __init__(self, moves: Sequence[Move[T]], number: int, num_read: int) -> None:
        """`num_read` records of the move of this number were read before."""
        self._moves = moves
        self._number = number
        self._num_read = num_read
        self._pause_s = 0.0
        self._mark_s: float | None = None

    def read(self, max_records: int) -> Sequence[T] | None:
        self._pause_s = 0.0
        if self._number == len(self._moves):
            return None
        match self._moves[self._number]:
            case Exception() as error:
                raise error
            case Pause(seconds):
                self._number, self._pause_s = self._number + 1, seconds
                return ()
            case Watermark(time_s):
                self._number, self._mark_s = self._number + 1, time_s
                return ()
            case move:
                return self._part(move, max_records)

    def _part(self, move: Sequence[T], max_records: int) -> Sequence[T]:
        records = move[self._num_read : self._num_read + max_records]
        self._num_read += len(records)
        if self._num_read >= len(move):
            self._number, self._num_read = self._number + 1, 0
        return records

    def pause_s(self) -> float:
        return self._pause_s

    def watermark_s(self) -> float | None:
        mark_s, self._mark_s = self._mark_s, None
        return mark_s

    def position(self) -> list[int]:
        return [self._number, self._num_read]

    def close(self) -> None:
        """There is nothing to let go of."""


def _everywhere(record: Any) -> bool:
    return True


class Failing:
    """A function of a record that raises `error` in place of its first `times` calls for each record, then calls `fn`.

    `times` None: it always does. `where` says for which records; records are told apart by their repr. `calls` counts
    what it was called with.

    >>> parse = Failing(int, OSError("busy"), times=1)
    >>> [type(parse.tried("7")).__name__ for _ in range(2)], parse.calls["'7'"]
    (['OSError', 'int'], 2)
    """

    def __init__(
        self,
        fn: Callable[[Any], Any],
        error: Exception,
        *,
        times: int | None = None,
        where: Callable[[Any], object] = _everywhere,
    ) -> None:
        """Raises FlowInvalid for a coroutine function: those take `failing_async`."""
        if iscoroutinefunction(fn):
            raise FlowInvalid("Failing takes a function that returns", "Write failing_async(fn, error).", param="fn")
        self._fn = fn
        self._error = error
        self._times = times
        self._where = where
        self.calls: Counter[str] = Counter()

    def __call__(self, record: Any) -> Any:
        self.count(record)
        return self._fn(record)

    def tried(self, record: Any) -> Any:
        """Return what a call gives, or the error that it raises."""
        try:
            return self(record)
        except Exception as error:  # noqa: BLE001 - whatever it raises is what is asked for
            return error

    def count(self, record: Any) -> None:
        """Account for a call, and raise where it is to fail."""
        if not self._where(record):
            return
        self.calls[repr(record)] += 1
        if self._times is None or self.calls[repr(record)] <= self._times:
            raise self._error


def failing_async(
    fn: Callable[[T], Awaitable[U]],
    error: Exception,
    *,
    times: int | None = None,
    where: Callable[[Any], object] = _everywhere,
) -> Callable[[T], Awaitable[U]]:
    """Return a coroutine function for `map_async` that fails as `Failing` does, and then awaits `fn`.

    >>> import sage
    >>> async def fetch(url): return f"page of {url}"
    >>> flow = sage.Flow("f")
    >>> calls = failing_async(fetch, ConnectionError("busy"), times=2)
    >>> pages = flow.from_collection(["a", "b"]).map_async(calls, retries=2, backoff_s=0).collect()
    >>> _ = flow.run(timeout_s=60); pages.items
    ['page of a', 'page of b']
    """
    failing = Failing(_same, error, times=times, where=where)

    async def call(record: T) -> U:
        failing.count(record)
        return await fn(record)

    return call


def _same(record: Any) -> Any:
    return record
