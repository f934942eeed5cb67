"""Streams: each method adds a step to the flow and returns the stream that leaves it. Runs nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack, overload

from sage.base.inference import ServiceClass
from sage.flow import spec
from sage.flow.batches import Batches
from sage.flow.builder import StepNumber
from sage.flow.ends import index_name
from sage.flow.graph import OnError
from sage.flow.index import Index, Passage
from sage.flow.model_options import (
    BACKOFF_S,
    CallOptions,
    EmbedOptions,
    GenerateOptions,
    Priority,
    Stop,
    Text,
    Value,
    service_class,
    stop_texts,
)
from sage.flow.time_options import ClockOptions
from sage.flow.where import refusal

if TYPE_CHECKING:  # importing NumPy takes longer than all of `import sage`
    import numpy as np
    from numpy.typing import NDArray

    from sage.flow.keyed import KeyedStream

    Vector = NDArray[np.float32]

T_co = TypeVar("T_co", covariant=True)
S_co = TypeVar("S_co", covariant=True)
U = TypeVar("U")
K = TypeVar("K", bound=Hashable)


class Stream(Batches[T_co]):
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
    ) -> Stream[U]:
        """Replace each record by what the coroutine function `fn` returns for it; order is kept.

        Up to `max_in_flight` calls run at a time. With `ordered=False` results leave as they come, though none passes
        a watermark. A call that raises, or takes longer than `timeout_s`, is tried `retries` times more: after about
        `backoff_s`, twice as long each time, or when the error says (`retry_after_s`, or a Retry-After header of its
        `response`). Then its record fails, as `on_error` says. With `dedup` records that are equal share one call while
        it runs, and its result; as a function of the record, `dedup` says by which key they are equal.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> async def fetch(url): return f"page of {url}"
        >>> pages = flow.from_collection(["a.org", "b.org"]).map_async(fetch, max_in_flight=8).collect()
        >>> _ = flow.run(); pages.items
        ['page of a.org', 'page of b.org']
        """
        step = spec.MapAsync(fn, max_in_flight, timeout_s, ordered, backoff_s, dedup)
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
        return SidedStream(self._builder, self._then(spec.Split(tuple(predicates), tuple(predicates.values()))))

    def union(self, *others: Stream[U]) -> Stream[T_co | U]:
        """Put the records of this and other streams of the same flow into one; each keeps its own order.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> both = flow.from_collection([1, 2]).union(flow.from_collection([3])).collect()
        >>> _ = flow.run(); sorted(both.items)
        [1, 2, 3]
        """
        for other in others:
            if other._builder is not self._builder:
                raise refusal(
                    f'union mixes streams of the flows "{self._builder.name}" and "{other._builder.name}"',
                    "Begin all of them with sources of one flow.",
                )
        numbers = (self._number, *(other._number for other in others))
        return Stream(self._builder, self._builder.add(spec.Union(), *numbers))

    @overload
    def generate(self, *, into: None = None, **asked: Unpack[GenerateOptions[T_co]]) -> Stream[str]: ...
    @overload
    def generate(self, *, into: str, **asked: Unpack[GenerateOptions[T_co]]) -> Stream[T_co]: ...
    @overload
    def generate(self, *, into: Callable[[T_co, str], U], **asked: Unpack[GenerateOptions[T_co]]) -> Stream[U]: ...
    def generate(
        self,
        *,
        model: str,
        prompt: Text[T_co],
        into: spec.Into = None,
        system: Text[T_co] | None = None,
        raw: bool = False,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int | None = None,
        stop: Stop = (),
        priority: Priority = ServiceClass.STANDARD,
        deadline_s: float | None = None,
        tenant: str = "default",
        on_token: Callable[[T_co, str], None] | None = None,
        max_in_flight: int = 64,
        dedup: bool | None = None,
        **calls: Unpack[CallOptions],
    ) -> Stream[Any]:
        """Ask `model` about each record; order is kept, and up to `max_in_flight` records wait for answers at a time.

        `prompt` and `system` are templates of field names ("{question}"; "{}" is the record) or functions of the
        record. The prompt is a user message; with `raw` it is sent as it is. `into` is where the answer goes: a field
        to set, or a function `(record, answer) -> new record`; without it the answer takes the record's place.
        `on_token(record, text)` is called with each piece as it comes, on the task's thread. `temperature` 0 is
        greedy; `max_tokens` None: what the model's context leaves. A request older than `deadline_s` fails its record.
        `timeout_s` bounds each try; it, `retries`, `backoff_s` and `ordered` are as in `map_async`. `dedup`: records of
        one prompt share a request while it is out; if not said, they do so where the answer is not left to chance.

        >>> import sage
        >>> questions = sage.Flow("f").from_collection([{"question": "Why?"}])
        >>> answers = questions.generate(model="smollm2", prompt="{question}", max_tokens=32, into="answer")
        """
        step = spec.Generate(
            model=model,
            prompt=prompt,
            system=system,
            raw=raw,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
            stop=stop_texts(stop),
            priority=service_class(priority),
            deadline_s=deadline_s,
            tenant=tenant,
            into=into,
            on_token=on_token,
            max_in_flight=max_in_flight,
            dedup=dedup,
        )
        return Stream(self._builder, self._ask_model(step, **calls))

    @overload
    def embed(self, *, into: None = None, **asked: Unpack[EmbedOptions[T_co]]) -> Stream[Vector]: ...
    @overload
    def embed(self, *, into: str, **asked: Unpack[EmbedOptions[T_co]]) -> Stream[T_co]: ...
    @overload
    def embed(self, *, into: Callable[[T_co, Vector], U], **asked: Unpack[EmbedOptions[T_co]]) -> Stream[U]: ...
    def embed(
        self,
        *,
        model: str,
        text: Text[T_co] | None = None,
        into: spec.Into = None,
        priority: Priority | None = None,
        deadline_s: float | None = None,
        tenant: str = "default",
        max_in_flight: int = 1024,
        dedup: bool | None = None,
        **calls: Unpack[CallOptions],
    ) -> Stream[Any]:
        """Ask `model` for the vector (float32 [dim], of length 1) of each record's text; order is kept.

        `text` is a field's name, a template of them ("{title}: {body}") or a function of the record; without it the
        record is the text. `into` is where the vector goes, as in `generate`. `priority`, if not given, is "batch"
        where the records end in an index and "standard" elsewhere. `timeout_s` bounds each try; it, `retries`,
        `backoff_s` and `ordered` are as in `map_async`. Equal texts share a vector while it is asked for, unless
        `dedup` is False.

        >>> import sage
        >>> texts = sage.Flow("f").from_collection([{"text": "Pythons eat."}])
        >>> with_vectors = texts.embed(model="minilm", text="text", into="vector")
        """
        chosen = ServiceClass.STANDARD if priority is None else service_class(priority)
        step = spec.Embed(model, text, chosen, deadline_s, tenant, into, max_in_flight, dedup=dedup)
        return Stream(self._builder, self._ask_model(step, class_is_default=priority is None, **calls))

    @overload
    def retrieve(
        self, index: Index, k: int = 3, *, vector: Value[T_co] = "vector", into: str = "passages"
    ) -> Stream[T_co]: ...
    @overload
    def retrieve(
        self, index: Index, k: int = 3, *, vector: Value[T_co] = "vector", into: None
    ) -> Stream[list[Passage]]: ...
    @overload
    def retrieve(
        self, index: Index, k: int = 3, *, vector: Value[T_co] = "vector", into: Callable[[T_co, list[Passage]], U]
    ) -> Stream[U]: ...
    def retrieve(
        self, index: Index, k: int = 3, *, vector: Value[T_co] = "vector", into: spec.Into = "passages"
    ) -> Stream[Any]:
        """Find the `k` passages of `index` that are nearest to each record's vector, the best first.

        Where steps of the same flow fill the index, the search begins when they have ended. `into` is where the list
        of passages goes, as in `generate`; with None it takes the record's place.

        >>> import sage
        >>> docs, flow = sage.Index("docs"), sage.Flow("f")
        >>> texts = [{"text": "snakes", "vector": [1.0, 0.0]}, {"text": "parrots", "vector": [0.0, 1.0]}]
        >>> filled = flow.from_collection(texts).index_into(docs, source=None)
        >>> found = flow.from_collection([{"vector": [0.6, 0.8]}]).retrieve(docs, k=1, into=None).collect()
        >>> _ = flow.run(); [(passage.text, round(passage.score, 2)) for passage in found.items[0]]
        [('parrots', 0.8)]
        """
        return Stream(self._builder, self._then(spec.Retrieve(index_name(index), k, vector, into)))

    def _ask_model(
        self,
        step: spec.Generate | spec.Embed,
        *,
        timeout_s: float | None = None,
        retries: int = 0,
        backoff_s: float = BACKOFF_S,
        ordered: bool = True,
        class_is_default: bool = False,
    ) -> StepNumber:
        step = replace(step, timeout_s=timeout_s, backoff_s=backoff_s, ordered=ordered)
        return self._tried(self._builder.add(step, self._number, class_is_default=class_is_default), retries)

    def _tried(self, number: StepNumber, retries: int) -> StepNumber:
        """Have the calls of a step tried again so often before its record fails."""
        if retries:
            self._builder.change(number, on_error=OnError.RETRY, retries=retries)
        return number


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
