"""Keyed streams: one value a key, running or by windows. Runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, TypeVar, overload

from sage.flow import spec
from sage.flow.broadcast import BroadcastConnected, BroadcastStream
from sage.flow.builder import StepNumber
from sage.flow.joined import ConnectedStreams, JoinedStream, StreamPair
from sage.flow.process import KeyedProcess
from sage.flow.processes import process_spec
from sage.flow.stream import SidedStream, Stream
from sage.flow.where import refusal
from sage.flow.windowed import WindowedStream
from sage.flow.windows import Shape

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")
K = TypeVar("K", bound=Hashable)


class KeyedStream(Stream[T], Generic[K, T]):
    """Records of type `T`, each with a key of type `K`.

    The aggregates keep one value a key and give `(key, value)` at every record, or, with `final=True`, once a key when
    the stream ends. A step other than an aggregate takes the records and leaves the keys behind.
    """

    __slots__ = ()

    def count(self, *, final: bool = False) -> Stream[tuple[K, int]]:
        """Count the records of each key.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> counts = flow.from_collection("abca").key_by(str).count(final=True).collect()
        >>> _ = flow.run(); counts.items
        [('a', 2), ('b', 1), ('c', 1)]
        """
        return Stream(self._builder, self._then(spec.Aggregate("count", None, final)))

    @overload
    def sum(self, of: None = None, *, final: bool = False) -> Stream[tuple[K, T]]: ...
    @overload
    def sum(self, of: Callable[[T], V], *, final: bool = False) -> Stream[tuple[K, V]]: ...
    def sum(self, of: Callable[[T], Any] | None = None, *, final: bool = False) -> Stream[tuple[K, Any]]:
        """Add up the records of each key, or what `of` makes of them.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> letters = flow.from_collection(["ant", "bee", "ape"]).key_by(lambda word: word[0]).sum(len).collect()
        >>> _ = flow.run(); letters.items
        [('a', 3), ('b', 3), ('a', 6)]
        """
        return Stream(self._builder, self._then(spec.Aggregate("sum", of, final)))

    @overload
    def min(self, of: None = None, *, final: bool = False) -> Stream[tuple[K, T]]: ...
    @overload
    def min(self, of: Callable[[T], V], *, final: bool = False) -> Stream[tuple[K, V]]: ...
    def min(self, of: Callable[[T], Any] | None = None, *, final: bool = False) -> Stream[tuple[K, Any]]:
        """Keep the least record of each key, or the least of what `of` makes of them.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> least = flow.from_collection([5, 2, 4]).key_by(lambda n: n % 2).min(final=True).collect()
        >>> _ = flow.run(); least.items
        [(1, 5), (0, 2)]
        """
        return Stream(self._builder, self._then(spec.Aggregate("min", of, final)))

    @overload
    def max(self, of: None = None, *, final: bool = False) -> Stream[tuple[K, T]]: ...
    @overload
    def max(self, of: Callable[[T], V], *, final: bool = False) -> Stream[tuple[K, V]]: ...
    def max(self, of: Callable[[T], Any] | None = None, *, final: bool = False) -> Stream[tuple[K, Any]]:
        """Keep the greatest record of each key, or the greatest of what `of` makes of them.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> greatest = flow.from_collection([5, 2, 4]).key_by(lambda n: n % 2).max(final=True).collect()
        >>> _ = flow.run(); greatest.items
        [(1, 5), (0, 4)]
        """
        return Stream(self._builder, self._then(spec.Aggregate("max", of, final)))

    def reduce(self, fn: Callable[[T, T], T], *, final: bool = False) -> Stream[tuple[K, T]]:
        """Join the records of each key by `fn(so far, record)`; the first is taken as it is.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> joined = flow.from_collection(["ant", "ape"]).key_by(lambda word: word[0]).reduce(str.__add__).collect()
        >>> _ = flow.run(); joined.items
        [('a', 'ant'), ('a', 'antape')]
        """
        return Stream(self._builder, self._then(spec.Reduce(fn, final)))

    @overload
    def fold(
        self, initial: Callable[[], U], fn: Callable[[U, T], U], *, final: bool = False
    ) -> Stream[tuple[K, U]]: ...
    @overload
    def fold(self, initial: U, fn: Callable[[U, T], U], *, final: bool = False) -> Stream[tuple[K, U]]: ...
    def fold(self, initial: Any, fn: Callable[[Any, T], Any], *, final: bool = False) -> Stream[tuple[K, Any]]:
        """Fold the records of each key by `fn(so far, record)`, beginning with `initial`.

        `initial` is a value that `fn` never changes in place, or a function of no argument that makes one a key.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> kept = flow.from_collection([1, 2, 3]).key_by(lambda n: n % 2).fold(tuple, lambda t, n: (*t, n)).collect()
        >>> _ = flow.run(); kept.items
        [(1, (1,)), (0, (2,)), (1, (1, 3))]
        """
        return Stream(self._builder, self._then(spec.Fold(initial, fn, final)))

    def window(self, shape: Shape) -> WindowedStream[K, T]:
        """Put the records of each key into windows of event time: what to do with each is said next.

        `shape` is sage.Tumbling, sage.Sliding, sage.Session or sage.CountWindow. A window gives its result when the
        watermark has passed its end, so the stream needs event time, but for a CountWindow.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> clicks = [(1, "ann"), (4, "bob"), (7, "ann"), (12, "ann")]
        >>> stream = flow.from_collection(clicks, timestamp=lambda click: click[0])
        >>> counts = stream.key_by(lambda click: click[1]).window(sage.Tumbling(10)).count().collect()
        >>> _ = flow.run(); [(c.key, c.start, c.end, c.value) for c in counts.items]
        [('ann', 0, 10, 2), ('bob', 0, 10, 1), ('ann', 10, 20, 1)]
        """
        given: object = shape
        if not isinstance(given, Shape):
            do = (
                "Give sage.Tumbling(size_s), sage.Sliding(size_s, every_s), sage.Session(gap_s) or sage.CountWindow(n)."
            )
            raise refusal(f"window takes a shape, got {shape!r:.80}", do, param="shape")
        return WindowedStream(self._builder, self._number, shape)

    def process(
        self, process: Callable[[], KeyedProcess[K, T, U]] | KeyedProcess[K, T, U], *, sides: Iterable[str] = ()
    ) -> SidedStream[U, Any]:
        """Give the records of each key to a process of your own, with state and timers for each key.

        `process` is a class or a function that makes one, or one that is copied for each instance of the step; `sides`
        are the tags that it puts records to by `context.aside(tag, record)`.

        >>> import sage
        >>> class Jumps(sage.KeyedProcess[str, tuple[str, int], int]):
        ...     last = sage.ValueState[int | None](None)
        ...     def on_record(self, record, context):
        ...         if self.last is not None:
        ...             yield record[1] - self.last
        ...         self.last = record[1]
        >>> flow = sage.Flow("f")
        >>> values = flow.from_collection([("a", 1), ("b", 5), ("a", 4), ("b", 3)])
        >>> jumps = values.key_by(lambda value: value[0]).process(Jumps).collect()
        >>> _ = flow.run(); jumps.items
        [3, -2]
        """
        return SidedStream(self._builder, self._then(process_spec(process, KeyedProcess, sides)))

    def join(self, other: KeyedStream[K, U]) -> JoinedStream[K, T, U]:
        """Pair the records of each key with those of another stream of the flow; which ones is said next.

        `within(before_s, after_s)`: those near in time; `window(shape)`: those of one window; `as_of()`: the one that
        held then.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> left, right = (flow.from_collection([1, 5, 9], timestamp=float).key_by(bool) for _ in range(2))
        >>> pairs = left.join(right).within(before_s=0, after_s=4).collect()
        >>> _ = flow.run(); sorted(pairs.items)
        [(1, 1), (1, 5), (5, 5), (5, 9), (9, 9)]
        """
        return JoinedStream(self._builder, self._number, self._beside(other, "join"))

    @overload
    def connect(self, other: KeyedStream[K, U]) -> ConnectedStreams[K, T, U]: ...
    @overload
    def connect(self, other: BroadcastStream[U]) -> BroadcastConnected[K, T, U]: ...
    def connect(self, other: KeyedStream[K, U] | BroadcastStream[U]) -> StreamPair[K, T, U]:
        """Let the records of two streams of one key meet in a process of your own: `connect(other).process(...)`.

        The other may be a broadcast stream, `connect(rules.broadcast())`: its records are for all keys.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> both = flow.from_collection([1]).key_by(bool).connect(flow.from_collection(["a"]).key_by(bool))
        """
        if isinstance(other, BroadcastStream):
            return BroadcastConnected(self._builder, self._number, self._of_this_flow(other, "connect"))
        return ConnectedStreams(self._builder, self._number, self._beside(other, "connect"))

    def _beside(self, other: object, verb: str) -> StepNumber:
        if not isinstance(other, KeyedStream):
            raise refusal(f"{verb} takes a keyed stream, got {other!r:.80}", "Write .key_by(...) on it.", param="other")
        return self._of_this_flow(other, verb)

    def _of_this_flow(self, other: Stream[Any], verb: str) -> StepNumber:
        if other._builder is not self._builder:
            names = f'"{self._builder.name}" and "{other._builder.name}"'
            raise refusal(f"{verb} mixes streams of the flows {names}", "Begin both with sources of one flow.")
        return other._number
