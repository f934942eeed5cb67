"""For tests of flows: sources that follow a script, and functions that fail as they are told. Knows no runner.

>>> import sage
>>> from sage.testing import Failing, Scripted
>>> flow = sage.Flow("prices")
>>> parse = Failing(float, ValueError("no price"), where=lambda text: text == "?")
>>> found = flow.from_source(Scripted(["1.5", "?"], ["2"])).map(parse).on_error("dead_letter").collect()
>>> flow.run(timeout_s=60).dead_letters, found.items
(1, [1.5, 2.0])
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from inspect import iscoroutinefunction
from typing import Any, Generic, TypeVar

from sage.base.errors import FlowInvalid

T = TypeVar("T")
U = TypeVar("U")


class Scripted(Generic[T]):
    """A source: each list is read at once, and each exception is raised by the read that comes to it, every time.

    It says where it is, so that a run with checkpoints goes on there; give it another script for the next run.

    >>> list(Scripted([1, 2], [3]).open().read(10))
    [1, 2]
    """

    def __init__(self, *moves: Sequence[T] | Exception) -> None:
        self._moves = moves

    def open(self) -> "ScriptedReader[T]":
        return self.open_at([0, 0])

    def open_at(self, position: Sequence[int]) -> "ScriptedReader[T]":
        return ScriptedReader(self._moves, *position)


class ScriptedReader(Generic[T]):
    """One reading of a script."""

    def __init__(self, moves: Sequence[Sequence[T] | Exception], number: int, num_read: int) -> None:
        """`num_read` records of the move of this number were read before."""
        self._moves = moves
        self._number = number
        self._num_read = num_read

    def read(self, max_records: int) -> Sequence[T] | None:
        if self._number == len(self._moves):
            return None
        move = self._moves[self._number]
        if isinstance(move, Exception):
            raise move
        records = move[self._num_read : self._num_read + max_records]
        self._num_read += len(records)
        if self._num_read >= len(move):
            self._number, self._num_read = self._number + 1, 0
        return records

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
