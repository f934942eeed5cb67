"""Streams: each method adds a step to the flow and returns the stream that leaves it. Runs nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack

from sage.flow import spec
from sage.flow.cached import kept_by, named_for
from sage.flow.iterate import INSIDE
from sage.flow.model_options import BACKOFF_S, Cache
from sage.flow.questions import Questions
from sage.flow.time_options import ClockOptions
from sage.flow.where import refusal

if TYPE_CHECKING:
    from sage.flow.broadcast import BroadcastStream
    from sage.flow.keyed import KeyedStream

T_co = TypeVar("T_co", covariant=True)
S_co = TypeVar("S_co", covariant=True)
U = TypeVar("U")
K = TypeVar("K", bound=Hashable)


class Stream(Questions[T_co]):
    """Records of type `T_co`, in order, on their way from one step to the next."""

    __slots__ = ()

    def map(self, fn: Callable[[T_co], U]) -> Stream[U]:
        """Replace each record by `fn(record)`.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> lengths = flow.from_collection(["a", "bcd"]).map(len).collect()
        >>> _ = flow.run(); lengths.items
        [1, 3]
        """
        return Stream(self._builder, self._then(spec.Map(fn)))

    def filter(self, fn: Callable[[T_co], object]) -> Stream[T_co]:
        """Keep the records for which `fn(record)` is true.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> evens = flow.from_collection(range(6)).filter(lambda n: n % 2 == 0).collect()
        >>> _ = flow.run(); evens.items
        [0, 2, 4]
        """
        return Stream(self._builder, self._then(spec.Filter(fn)))

    def flat_map(self, fn: Callable[[T_co], Iterable[U]]) -> Stream[U]:
        """Replace each record by the items of `fn(record)`: none, one or many.

        A text, bytes or a dict is one record, and an error here: `flat_map(list)` gives the characters of a text.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> words = flow.from_collection(["to be", "or not"]).flat_map(str.split).collect()
        >>> _ = flow.run(); words.items
        ['to', 'be', 'or', 'not']
        """
        return Stream(self._builder, self._then(spec.FlatMap(fn)))

    def map_async(
        self,
        fn: Callable[[T_co], Awaitable[U]],
        *,
        max_in_flight: int = 64,
        ordered: bool = True,
        timeout_s: float | None = None,
        retries: int = 0,
        backoff_s: float = BACKOFF_S,
        dedup: bool | Callable[[T_co], Hashable] = False,
        cache: Cache = None,
    ) -> Stream[U]:
        """Replace each record by what the coroutine function `fn` returns for it; order is kept.

        Up to `max_in_flight` calls run at a time. With `ordered=False` results leave as they come, though none passes
        a watermark. A call that raises, or takes longer than `timeout_s`, is tried `retries` times more: after about
        `backoff_s`, twice as long each time, or when the error says (`retry_after_s`, or a Retry-After header of its
        `response`). Then its record fails, as `on_error` says. With `dedup` records that are equal share one call while
        it runs, and its result; as a function of the record, `dedup` says by which key they are equal. `cache`: a
        folder, or a sage.CallCache, where results are kept, by function and record, for this run and others.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> async def fetch(url): return f"page of {url}"
        >>> pages = flow.from_collection(["a.org", "b.org"]).map_async(fetch, max_in_flight=8).collect()
        >>> _ = flow.run(); pages.items
        ['page of a.org', 'page of b.org']
        """
        step = spec.MapAsync(fn, max_in_flight, timeout_s, ordered, backoff_s, dedup, named_for(kept_by(cache), fn))
        return Stream(self._builder, self._tried(self._then(step), retries))

    def key_by(self, fn: Callable[[T_co], K]) -> KeyedStream[K, T_co]:
        """Give each record the key `fn(record)`, for the aggregates of KeyedStream; records stay as they are.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> seen = flow.from_collection(["ant", "bee", "ape"]).key_by(lambda word: word[0]).count().collect()
        >>> _ = flow.run(); seen.items
        [('a', 1), ('b', 1), ('a', 2)]
        """
        from sage.flow.keyed import KeyedStream  # a stream names its own heir: one thought in two files

        return KeyedStream(self._builder, self._then(spec.KeyBy(fn)))

    def assign_timestamps(self, fn: Callable[[T_co], float], **clock: Unpack[ClockOptions[T_co]]) -> Stream[T_co]:
        """Give each record the event time `fn(record)`, in seconds since the epoch, for windows after it.

        The watermark, which says that nothing older comes, stays `max_out_of_order_s` behind the latest record, of all
        or of the `partition` furthest behind; what gives nothing for `idle_after_s` is not waited for (ClockOptions).

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> words = flow.from_collection(["1 a", "3 b"]).map(str.split).assign_timestamps(lambda word: float(word[0]))
        >>> found = words.key_by(lambda word: word[1]).window(sage.Session(5)).count().collect()
        >>> _ = flow.run(); [(each.key, each.start, each.end) for each in found.items]
        [('a', 1.0, 6.0), ('b', 3.0, 8.0)]
        """
        return Stream(self._builder, self._then(spec.AssignTimestamps(fn, **clock)))

    def split(self, predicates: Mapping[str, Callable[[T_co], object]]) -> SidedStream[T_co, T_co]:
        """Put each record to the side whose predicate holds for it, the first in order; others stay on this stream.

        Every side is to be taken by `side(tag)`; the stream itself may be left alone.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> parts = flow.from_collection(range(6)).split({"small": lambda n: n < 2, "odd": lambda n: n % 2})
        >>> small, odd, rest = parts.side("small").collect(), parts.side("odd").collect(), parts.collect()
        >>> _ = flow.run(); small.items, odd.items, rest.items
        ([0, 1], [3, 5], [2, 4])
        """
        given: object = predicates
        if not isinstance(given, Mapping):
            what = f"split takes a predicate for each side, got {predicates!r:.80} ({type(predicates).__name__})"
            raise refusal(what, 'Write split({"tag": predicate}).', param="predicates")
        return SidedStream(self._builder, self._then(spec.Split(tuple(predicates), tuple(predicates.values()))))

    def iterate(
        self,
        body: Callable[[Stream[T_co]], Stream[T_co]],
        *,
        until: Callable[[T_co], object],
        max_rounds: int,
        max_in_flight: int = 1000,
        unfinished_to: str | None = None,
    ) -> SidedStream[T_co, T_co]:
        """Send each record through `body` again and again: it leaves once `until` holds for what came of it.

        `body` is called once, with the stream of records that go in, and returns the stream of those that come out of
        one round. After `max_rounds` rounds a record leaves as it is: on the side `unfinished_to`, where that is given,
        else with the others. Records leave as they are done, not in the order in which they came. At most
        `max_in_flight` records are in the loop, where its body makes one record of one; others wait before it.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> def halve(stream): return stream.map(lambda n: n // 2)
        >>> odd = flow.from_collection([12, 40, 7]).iterate(halve, until=lambda n: n % 2, max_rounds=10).collect()
        >>> _ = flow.run(); sorted(odd.items)
        [3, 3, 5]
        """
        _check_body(body)
        builder, loop = self._builder, self._builder.num_steps
        head = self._then(spec.Iterate(until, max_rounds, max_in_flight, unfinished_to, loop))
        begin: Stream[T_co] = Stream(builder, builder.add(spec.TakeSide(INSIDE), head, kind="round"))
        end = self._checked_body(body(begin), builder.specs_from(loop))
        builder.add(spec.Again(loop), end._number)
        return SidedStream(builder, head)

    def _checked_body(self, end: object, specs: list[spec.Spec]) -> Stream[Any]:
        """Return what a body returned; raises FlowInvalid where no loop can be made of it, or of its steps."""
        if any(isinstance(each, spec.Read) for each in specs):
            raise refusal("the body of iterate has a source in it", "Read before the loop.", param="body")
        if any(isinstance(each, spec.SINKS) for each in specs):
            raise refusal("the body of iterate has a sink in it", "End the stream that iterate returns.", param="body")
        if not isinstance(end, Stream):
            do = "Return what the steps of the body make: lambda stream: stream.map(...)."
            raise refusal(f"the body of iterate returned {end!r:.80}, which is no stream", do, param="body")
        if end._builder is not self._builder:
            what = f'the body of iterate returned a stream of another flow, "{end._builder.name}"'
            raise refusal(what, "Use the stream that the body is given.", param="body")
        return end

    def broadcast(self) -> BroadcastStream[T_co]:
        """Give every record to every instance of the next step, in one order; `keyed.connect(this)` keeps what it says.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> twice = flow.from_collection(["a", "b"]).broadcast().map(str.upper).with_parallelism(2).collect()
        >>> _ = flow.run(); sorted(twice.items)
        ['A', 'A', 'B', 'B']
        """
        from sage.flow.broadcast import BroadcastStream  # a stream names its own heir: one thought in two files

        return BroadcastStream(self._builder, self._then(spec.ToAll()))

    def union(self, *others: Stream[U]) -> Stream[T_co | U]:
        """Put the records of this and other streams of the same flow into one; each keeps its own order.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> both = flow.from_collection([1, 2]).union(flow.from_collection([3])).collect()
        >>> _ = flow.run(); sorted(both.items)
        [1, 2, 3]
        """
        for other in others:
            given: object = other
            if not isinstance(given, Stream):
                raise refusal(f"union takes streams, got {given!r:.80}", "Write one.union(other).", param="others")
            if other._builder is not self._builder:
                raise refusal(
                    f'union mixes streams of the flows "{self._builder.name}" and "{other._builder.name}"',
                    "Begin all of them with sources of one flow.",
                )
        numbers = (self._number, *(other._number for other in others))
        return Stream(self._builder, self._builder.add(spec.Union(), *numbers))


class SidedStream(Stream[T_co], Generic[T_co, S_co]):
    """A stream beside which records of type `S_co` leave the same step, by tag."""

    __slots__ = ()

    def side(self, tag: str) -> Stream[S_co]:
        """Begin a stream with what the last step puts to the side of `tag`.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> words = flow.from_collection(["be", "not"]).split({"long": lambda word: len(word) > 2})
        >>> longer, others = words.side("long").collect(), words.collect()
        >>> _ = flow.run(); longer.items
        ['not']
        """
        return Stream(self._builder, self._then(spec.TakeSide(tag)))


def _check_body(body: object) -> None:
    if not callable(body):
        do = "Give a function of a stream: lambda stream: stream.map(...)."
        raise refusal(f"the body of iterate is {body!r:.80}, which is no function", do, param="body")
