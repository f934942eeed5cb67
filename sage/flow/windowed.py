"""Windows over a keyed stream while they are written down: first how late records may be, then what to compute."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar, overload

from sage.flow import spec
from sage.flow.builder import Builder, StepNumber
from sage.flow.stream import SidedStream
from sage.flow.where import refusal
from sage.flow.windows import Shape, Trigger, WindowResult

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")
A = TypeVar("A")
K = TypeVar("K", bound=Hashable)


class WindowedStream(Generic[K, T]):
    """A keyed stream and a shape of windows: no step yet. What is computed of each window makes it one."""

    __slots__ = ("_builder", "_number", "_options", "_shape")

    def __init__(
        self,
        builder: Builder,
        number: StepNumber,
        shape: Shape,
        *,
        allow_late_s: float = 0.0,
        late_to: str | None = None,
        trigger: Trigger | None = None,
    ) -> None:
        self._builder = builder
        self._number = number
        self._shape = shape
        self._options = allow_late_s, late_to, trigger

    def allow_late(self, seconds: float) -> WindowedStream[K, T]:
        """Keep each window for `seconds` of event time past its end: a record that is late by less changes it.

        The window then gives its result once more, with the record in it. Without this, late records are left out.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> stream = flow.from_collection([1, 12, 3], timestamp=float).key_by(lambda time: "all")
        >>> late = stream.window(sage.Tumbling(10)).allow_late(60).collect().map(lambda each: each.value).collect()
        >>> _ = flow.run(); late.items[-2:]
        [[1, 3], [12]]
        """
        _, late_to, trigger = self._options
        return self._with(seconds, late_to, trigger)

    def late_to(self, tag: str) -> WindowedStream[K, T]:
        """Put records that come too late to the side of `tag`, to be taken by `side(tag)`; else they are left out.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> times = flow.from_collection([1, 12, 13], timestamp=float).map_batches(lambda times: times, max_records=1)
        >>> sums = times.key_by(lambda time: "all").window(sage.Tumbling(10)).late_to("late").sum()
        >>> late, rest = sums.side("late").collect(), sums.collect()
        >>> _ = flow.run(); late.items
        []
        """
        allow_late_s, _, trigger = self._options
        return self._with(allow_late_s, tag, trigger)

    def trigger(self, *, every_records: int | None = None, every_s: float | None = None) -> WindowedStream[K, T]:
        """Let each window give what it has so far before it is over, beside its result when it is.

        After every `every_records` records of a key; or every `every_s` seconds of the clock, for the keys that had
        some since. Of both, what comes first counts.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> hits = flow.from_collection([1, 2, 3, 4, 5], timestamp=float).key_by(lambda time: "all")
        >>> counts = hits.window(sage.Tumbling(60)).trigger(every_records=2).count().collect()
        >>> _ = flow.run(); [each.value for each in counts.items]
        [2, 4, 5]
        """
        if every_records is None and every_s is None:
            raise refusal("trigger is told nothing", "Give every_records= or every_s=.", param="every_records")
        allow_late_s, late_to, _ = self._options
        return self._with(allow_late_s, late_to, Trigger(every_records, every_s))

    def count(self) -> SidedStream[WindowResult[K, int], T]:
        """Count the records of each window.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> counts = flow.from_collection("abcab").key_by(str).window(sage.CountWindow(2)).count().collect()
        >>> _ = flow.run(); [(each.key, each.value) for each in counts.items]
        [('a', 2), ('b', 2), ('c', 1)]
        """
        return self._given(spec.Aggregate("count"))

    @overload
    def sum(self, of: None = None) -> SidedStream[WindowResult[K, T], T]: ...
    @overload
    def sum(self, of: Callable[[T], V]) -> SidedStream[WindowResult[K, V], T]: ...
    def sum(self, of: Callable[[T], Any] | None = None) -> SidedStream[WindowResult[K, Any], T]:
        """Add up the records of each window, or what `of` makes of them.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> stream = flow.from_collection([1, 2, 11], timestamp=float).key_by(lambda n: n % 2)
        >>> sums = stream.window(sage.Tumbling(10)).sum().collect()
        >>> _ = flow.run(); [(each.key, each.start, each.value) for each in sums.items]
        [(1, 0, 1), (0, 0, 2), (1, 10, 11)]
        """
        return self._given(spec.Aggregate("sum", of))

    @overload
    def min(self, of: None = None) -> SidedStream[WindowResult[K, T], T]: ...
    @overload
    def min(self, of: Callable[[T], V]) -> SidedStream[WindowResult[K, V], T]: ...
    def min(self, of: Callable[[T], Any] | None = None) -> SidedStream[WindowResult[K, Any], T]:
        """Keep the least record of each window, or the least of what `of` makes of them.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> stream = flow.from_collection([3, 5, 4], timestamp=float).key_by(lambda n: "all")
        >>> least = stream.window(sage.Sliding(size_s=4, every_s=2)).min().collect()
        >>> _ = flow.run(); [(each.start, each.value) for each in least.items]
        [(0, 3), (2, 3), (4, 4)]
        """
        return self._given(spec.Aggregate("min", of))

    @overload
    def max(self, of: None = None) -> SidedStream[WindowResult[K, T], T]: ...
    @overload
    def max(self, of: Callable[[T], V]) -> SidedStream[WindowResult[K, V], T]: ...
    def max(self, of: Callable[[T], Any] | None = None) -> SidedStream[WindowResult[K, Any], T]:
        """Keep the greatest record of each window, or the greatest of what `of` makes of them.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> stream = flow.from_collection([1, 2, 8], timestamp=float).key_by(lambda n: "all")
        >>> greatest = stream.window(sage.Session(3)).max().collect()
        >>> _ = flow.run(); [(each.start, each.end, each.value) for each in greatest.items]
        [(1.0, 5.0, 2), (8.0, 11.0, 8)]
        """
        return self._given(spec.Aggregate("max", of))

    def reduce(self, fn: Callable[[T, T], T]) -> SidedStream[WindowResult[K, T], T]:
        """Join the records of each window by `fn(so far, record)`; the first is taken as it is.

        Sliding windows and sessions join parts of a window too, the earlier first: `fn` must be associative.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> words = flow.from_collection(["to", "be", "or"]).key_by(len).window(sage.CountWindow(2))
        >>> joined = words.reduce(str.__add__).collect()
        >>> _ = flow.run(); [each.value for each in joined.items]
        ['tobe', 'or']
        """
        return self._given(spec.Reduce(fn))

    @overload
    def fold(self, initial: Callable[[], U], fn: Callable[[U, T], U]) -> SidedStream[WindowResult[K, U], T]: ...
    @overload
    def fold(self, initial: U, fn: Callable[[U, T], U]) -> SidedStream[WindowResult[K, U], T]: ...
    def fold(self, initial: Any, fn: Callable[[Any, T], Any]) -> SidedStream[WindowResult[K, Any], T]:
        """Fold the records of each window by `fn(so far, record)`, beginning with `initial`, in the order they come.

        `initial` is a value that `fn` never changes in place, or a function of no argument that makes one a window.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> words = flow.from_collection(["to", "be", "or"]).key_by(len).window(sage.CountWindow(2))
        >>> folded = words.fold("", lambda so_far, word: so_far + word[0]).collect()
        >>> _ = flow.run(); [each.value for each in folded.items]
        ['tb', 'o']
        """
        if isinstance(initial, list | dict | set | bytearray):
            kind = type(initial).__name__
            what = f"fold would share one {kind} between all windows"
            raise refusal(what, f"Give what makes one: fold({kind}, ...).", param="initial")
        return self._given(spec.Combine(initial if callable(initial) else lambda: initial, fn))

    @overload
    def aggregate(
        self, create: Callable[[], A], add: Callable[[A, T], A], *, merge: Callable[[A, A], A] | None = None
    ) -> SidedStream[WindowResult[K, A], T]: ...
    @overload
    def aggregate(
        self,
        create: Callable[[], A],
        add: Callable[[A, T], A],
        *,
        result: Callable[[A], V],
        merge: Callable[[A, A], A] | None = None,
    ) -> SidedStream[WindowResult[K, V], T]: ...
    def aggregate(
        self,
        create: Callable[[], Any],
        add: Callable[[Any, T], Any],
        *,
        result: Callable[[Any], Any] | None = None,
        merge: Callable[[Any, Any], Any] | None = None,
    ) -> SidedStream[WindowResult[K, Any], T]:
        """Fold each window by `add(so far, record)` from `create()` on, and give `result(so far)` at its end.

        `merge(earlier, later)`, where it is known, spares sliding windows and sessions to add a record more than once.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> numbers = flow.from_collection([1, 2, 6]).key_by(lambda n: "all").window(sage.CountWindow(3))
        >>> means = numbers.aggregate(list, lambda ns, n: [*ns, n], result=lambda ns: sum(ns) / len(ns)).collect()
        >>> _ = flow.run(); [each.value for each in means.items]
        [3.0]
        """
        return self._given(spec.Combine(create, add, merge, result))

    def collect(self) -> SidedStream[WindowResult[K, list[T]], T]:
        """Give the records of each window as a list, in the order in which they came.

        Where a sliding window or a session is joined of parts, the records of the earlier part stand first.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> pairs = flow.from_collection("abc").key_by(lambda letter: 0).window(sage.CountWindow(2)).collect().collect()
        >>> _ = flow.run(); [each.value for each in pairs.items]
        [['a', 'b'], ['c']]
        """
        return self._given(spec.Gather())

    def _given(self, over: spec.Over) -> SidedStream[Any, T]:
        step = spec.Window(self._shape, over, *self._options)
        return SidedStream(self._builder, self._builder.add(step, self._number))

    def _with(self, allow_late_s: float, late_to: str | None, trigger: Trigger | None) -> WindowedStream[K, T]:
        return WindowedStream(
            self._builder, self._number, self._shape, allow_late_s=allow_late_s, late_to=late_to, trigger=trigger
        )
