"""Two keyed streams of one key while they are put together: how is said next. No step yet."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, Literal, TypeVar, overload

from sage.flow import spec
from sage.flow.builder import Builder, StepNumber
from sage.flow.process import CoProcess
from sage.flow.processes import process_spec
from sage.flow.stream import SidedStream, Stream
from sage.flow.where import refusal
from sage.flow.windows import Session, Shape, Sliding, Tumbling, WindowResult

T = TypeVar("T")
S = TypeVar("S")
U = TypeVar("U")
K = TypeVar("K", bound=Hashable)


class StreamPair(Generic[K, T, S]):
    """Two streams that one step is about to read."""

    __slots__ = ("_builder", "_left", "_right")

    def __init__(self, builder: Builder, left: StepNumber, right: StepNumber) -> None:
        self._builder = builder
        self._left = left
        self._right = right

    def _then(self, spec: spec.Spec) -> StepNumber:
        return self._builder.add(spec, self._left, self._right)


class JoinedStream(StreamPair[K, T, S]):
    """Pairs of records of one key, of `T` on the left and of `S` on the right: which ones is said next."""

    __slots__ = ()

    def within(self, before_s: float, after_s: float) -> Stream[tuple[T, S]]:
        """Pair each left with the rights from `before_s` before it to `after_s` after it, in event time.

        A pair has the time of its later record. What comes behind the watermark is left out.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> views = flow.from_collection([(1, "ann"), (9, "bob")], timestamp=lambda view: view[0])
        >>> clicks = flow.from_collection([(3, "ann"), (8, "bob")], timestamp=lambda click: click[0])
        >>> both = views.key_by(lambda view: view[1]).join(clicks.key_by(lambda click: click[1]))
        >>> pairs = both.within(before_s=0, after_s=5).collect()
        >>> _ = flow.run(); pairs.items
        [((1, 'ann'), (3, 'ann'))]
        """
        return Stream(self._builder, self._then(spec.Within(before_s, after_s)))

    def window(self, shape: Shape) -> Stream[WindowResult[K, tuple[T, S]]]:
        """Pair each left with every right of the same window, once the window is over.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> views = flow.from_collection([1, 9], timestamp=float).key_by(lambda view: "all")
        >>> clicks = flow.from_collection([2, 12], timestamp=float).key_by(lambda click: "all")
        >>> pairs = views.join(clicks).window(sage.Tumbling(10)).collect()
        >>> _ = flow.run(); sorted(pair.value for pair in pairs.items)
        [(1, 2), (9, 2)]
        """
        given: object = shape
        if not isinstance(given, Tumbling | Sliding | Session):
            do = "Give sage.Tumbling(size_s), sage.Sliding(size_s, every_s) or sage.Session(gap_s)."
            raise refusal(f"a join takes windows of event time, got {shape!r:.80}", do, param="shape")
        return Stream(self._builder, self._then(spec.JoinWindows(given)))

    @overload
    def as_of(self, *, outer: Literal[False] = False) -> Stream[tuple[T, S]]: ...
    @overload
    def as_of(self, *, outer: Literal[True]) -> Stream[tuple[T, S | None]]: ...
    def as_of(self, *, outer: bool = False) -> Stream[tuple[T, Any]]:
        """Pair each left with the right that its key had then: the last whose event time is not after the left's.

        The right is a table that changes. A left waits until the watermark is past it; without a right it is left out,
        or, with `outer`, paired with None.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> orders = flow.from_collection([(3, "eur"), (7, "eur")], timestamp=lambda order: order[0])
        >>> rates = flow.from_collection([(1, "eur", 1.1), (5, "eur", 1.2)], timestamp=lambda rate: rate[0])
        >>> both = orders.key_by(lambda order: order[1]).join(rates.key_by(lambda rate: rate[1]))
        >>> priced = both.as_of().map(lambda pair: (pair[0][0], pair[1][2])).collect()
        >>> _ = flow.run(); priced.items
        [(3, 1.1), (7, 1.2)]
        """
        return Stream(self._builder, self._then(spec.AsOf(outer)))


class ConnectedStreams(StreamPair[K, T, S]):
    """Two keyed streams whose records of one key meet in one process."""

    __slots__ = ()

    def process(
        self, process: Callable[[], CoProcess[K, T, S, U]] | CoProcess[K, T, S, U], *, sides: Iterable[str] = ()
    ) -> SidedStream[U, Any]:
        """Give the records of both streams to a process, which has state and timers for each key.

        >>> import sage
        >>> class Named(sage.CoProcess[int, int, tuple[int, str], str]):
        ...     name = sage.ValueState[str | None](None)
        ...     early = sage.ValueState(0)
        ...     def on_first(self, record, context):
        ...         if self.name is None:
        ...             self.early += 1
        ...         else:
        ...             yield self.name
        ...     def on_second(self, record, context):
        ...         self.name = record[1]
        ...         yield from [record[1]] * self.early
        >>> flow = sage.Flow("f")
        >>> calls, names = flow.from_collection([7, 8, 7]), flow.from_collection([(7, "ann"), (8, "bob")])
        >>> both = calls.key_by(lambda call: call).connect(names.key_by(lambda name: name[0]))
        >>> called = both.process(Named).collect()
        >>> _ = flow.run(); sorted(called.items)
        ['ann', 'ann', 'bob']
        """
        return SidedStream(self._builder, self._then(process_spec(process, CoProcess, sides, has_two=True)))
