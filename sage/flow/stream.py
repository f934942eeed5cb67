"""Streams: each method adds a step to the flow and returns the stream that leaves it. Runs nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack, overload

from sage.base.inference import ServiceClass
from sage.flow import spec
from sage.flow.ends import Outlet, index_name
from sage.flow.index import Index, Passage
from sage.flow.model_options import EmbedOptions, GenerateOptions, Priority, Stop, service_class, stop_texts
from sage.flow.where import refusal

if TYPE_CHECKING:  # importing NumPy takes longer than all of `import sage`
    import numpy as np
    from numpy.typing import NDArray

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")
K = TypeVar("K", bound=Hashable)


class Stream(Outlet[T_co]):
    """Records of type `T_co`, in order, on their way from one step to the next."""

    __slots__ = ()

    def map(self, fn: Callable[[T_co], U]) -> Stream[U]:
        """Replace each record by `fn(record)`.

        >>> import sage
        >>> lengths = sage.Flow("f").from_collection(["a", "bcd"]).map(len)
        """
        return Stream(self._builder, self._then(spec.Map(fn)))

    def filter(self, fn: Callable[[T_co], object]) -> Stream[T_co]:
        """Keep the records for which `fn(record)` is true.

        >>> import sage
        >>> evens = sage.Flow("f").from_collection(range(6)).filter(lambda n: n % 2 == 0)
        """
        return Stream(self._builder, self._then(spec.Filter(fn)))

    def flat_map(self, fn: Callable[[T_co], Iterable[U]]) -> Stream[U]:
        """Replace each record by the items of `fn(record)`: none, one or many.

        >>> import sage
        >>> words = sage.Flow("f").from_collection(["to be", "or not"]).flat_map(str.split)
        """
        return Stream(self._builder, self._then(spec.FlatMap(fn)))

    def map_batches(
        self,
        fn: Callable[[list[T_co]], Iterable[U]],
        *,
        max_records: int | None = None,
        max_wait_s: float | None = None,
    ) -> Stream[U]:
        """Replace lists of neighbouring records, as they come, by the items of `fn(records)`.

        A call gets at most `max_records`. With `max_wait_s` it gets exactly that many, unless the stream ends or the
        first of them has waited that long.

        >>> import sage
        >>> sums = sage.Flow("f").from_collection(range(6)).map_batches(lambda ns: [sum(ns)], max_records=3)
        """
        return Stream(self._builder, self._then(spec.MapBatches(fn, max_records, max_wait_s)))

    def map_async(
        self, fn: Callable[[T_co], Awaitable[U]], *, max_in_flight: int = 64, timeout_s: float | None = None
    ) -> Stream[U]:
        """Replace each record by what the coroutine function `fn` returns for it; order is kept.

        Up to `max_in_flight` calls run at a time. A call that takes longer than `timeout_s` fails its record.

        >>> import sage
        >>> async def fetch(url: str) -> bytes: ...
        >>> pages = sage.Flow("f").from_collection(["http://a", "http://b"]).map_async(fetch, max_in_flight=8)
        """
        return Stream(self._builder, self._then(spec.MapAsync(fn, max_in_flight, timeout_s)))

    def key_by(self, fn: Callable[[T_co], K]) -> KeyedStream[K, T_co]:
        """Give each record the key `fn(record)`, for the aggregates of KeyedStream; records stay as they are.

        >>> import sage
        >>> by_letter = sage.Flow("f").from_collection(["ant", "bee", "ape"]).key_by(lambda word: word[0])
        """
        return KeyedStream(self._builder, self._then(spec.KeyBy(fn)))

    def union(self, *others: Stream[U]) -> Stream[T_co | U]:
        """Put the records of this and other streams of the same flow into one; each keeps its own order.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> both = flow.from_collection([1, 2]).union(flow.from_collection([3]))
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
    def generate(
        self,
        *,
        model: str,
        prompt: str | Callable[[T_co], str],
        into: None = None,
        **options: Unpack[GenerateOptions[T_co]],
    ) -> Stream[str]: ...

    @overload
    def generate(
        self, *, model: str, prompt: str | Callable[[T_co], str], into: str, **options: Unpack[GenerateOptions[T_co]]
    ) -> Stream[T_co]: ...

    @overload
    def generate(
        self,
        *,
        model: str,
        prompt: str | Callable[[T_co], str],
        into: Callable[[T_co, str], U],
        **options: Unpack[GenerateOptions[T_co]],
    ) -> Stream[U]: ...

    def generate(
        self,
        *,
        model: str,
        prompt: str | Callable[[T_co], str],
        into: spec.Into = None,
        system: str | Callable[[T_co], str] | None = None,
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
    ) -> Stream[Any]:
        """Ask `model` about each record; order is kept, and up to `max_in_flight` records wait for answers at a time.

        `prompt` and `system` are templates of field names ("{question}"; "{}" is the record) or functions of the
        record. The prompt is a user message; with `raw` it is sent as it is. `into` is where the answer goes: a field
        to set, or a function `(record, answer) -> new record`; without it the answer takes the record's place.
        `on_token(record, text)` is called with each piece as it comes, on the task's thread. `temperature` 0 is
        greedy; `max_tokens` None: what the model's context leaves. A request older than `deadline_s` fails its record.

        >>> import sage
        >>> questions = sage.Flow("f").from_collection([{"question": "Why?"}])
        >>> answers = questions.generate(model="smollm2", prompt="{question}", max_tokens=32, into="answer")
        """
        options = (max_tokens, temperature, seed, stop_texts(stop), service_class(priority), deadline_s, tenant)
        step = spec.Generate(model, prompt, system, raw, *options, into, on_token, max_in_flight)
        return Stream(self._builder, self._then(step))

    @overload
    def embed(
        self,
        *,
        model: str,
        text: str | Callable[[T_co], str] | None = None,
        into: None = None,
        **options: Unpack[EmbedOptions],
    ) -> Stream[NDArray[np.float32]]: ...

    @overload
    def embed(
        self,
        *,
        model: str,
        text: str | Callable[[T_co], str] | None = None,
        into: str,
        **options: Unpack[EmbedOptions],
    ) -> Stream[T_co]: ...

    @overload
    def embed(
        self,
        *,
        model: str,
        text: str | Callable[[T_co], str] | None = None,
        into: Callable[[T_co, NDArray[np.float32]], U],
        **options: Unpack[EmbedOptions],
    ) -> Stream[U]: ...

    def embed(
        self,
        *,
        model: str,
        text: str | Callable[[T_co], str] | None = None,
        into: spec.Into = None,
        priority: Priority | None = None,
        deadline_s: float | None = None,
        tenant: str = "default",
        max_in_flight: int = 1024,
    ) -> Stream[Any]:
        """Ask `model` for the vector (float32 [dim], of length 1) of each record's text; order is kept.

        `text` is a field's name, a template of them ("{title}: {body}") or a function of the record; without it the
        record is the text. `into` is where the vector goes, as in `generate`. `priority`, if not given, is "batch"
        where the records end in an index and "standard" elsewhere.

        >>> import sage
        >>> texts = sage.Flow("f").from_collection([{"text": "Pythons eat."}])
        >>> with_vectors = texts.embed(model="minilm", text="text", into="vector")
        """
        chosen = ServiceClass.STANDARD if priority is None else service_class(priority)
        step = spec.Embed(model, text, chosen, deadline_s, tenant, into, max_in_flight)
        return Stream(self._builder, self._builder.add(step, self._number, class_is_default=priority is None))

    @overload
    def retrieve(
        self, index: Index, k: int = 3, *, vector: str | Callable[[T_co], Any] = "vector", into: str = "passages"
    ) -> Stream[T_co]: ...

    @overload
    def retrieve(
        self, index: Index, k: int = 3, *, vector: str | Callable[[T_co], Any] = "vector", into: None
    ) -> Stream[list[Passage]]: ...

    @overload
    def retrieve(
        self,
        index: Index,
        k: int = 3,
        *,
        vector: str | Callable[[T_co], Any] = "vector",
        into: Callable[[T_co, list[Passage]], U],
    ) -> Stream[U]: ...

    def retrieve(
        self,
        index: Index,
        k: int = 3,
        *,
        vector: str | Callable[[T_co], Any] = "vector",
        into: spec.Into = "passages",
    ) -> Stream[Any]:
        """Find the `k` passages of `index` that are nearest to each record's vector, the best first.

        Where steps of the same flow fill the index, the search begins when they have ended. `into` is where the list
        of passages goes, as in `generate`; with None it takes the record's place.

        >>> import sage
        >>> docs, flow = sage.Index("docs"), sage.Flow("f")
        >>> questions = flow.from_collection([{"q": "Why?"}]).embed(model="minilm", text="q", into="vector")
        >>> found = questions.retrieve(docs, k=3)
        """
        return Stream(self._builder, self._then(spec.Retrieve(index_name(index), k, vector, into)))


class KeyedStream(Stream[T], Generic[K, T]):
    """Records of type `T`, each with a key of type `K`.

    The aggregates keep one value a key and give `(key, value)` at every record, or, with `final=True`, once a key when
    the stream ends. A step other than an aggregate takes the records and leaves the keys behind.
    """

    __slots__ = ()

    def count(self, *, final: bool = False) -> Stream[tuple[K, int]]:
        """Count the records of each key.

        >>> import sage
        >>> counts = sage.Flow("f").from_collection("abca").key_by(str).count(final=True)
        """
        return Stream(self._builder, self._then(spec.Aggregate("count", None, final)))

    @overload
    def sum(self, of: None = None, *, final: bool = False) -> Stream[tuple[K, T]]: ...
    @overload
    def sum(self, of: Callable[[T], V], *, final: bool = False) -> Stream[tuple[K, V]]: ...
    def sum(self, of: Callable[[T], Any] | None = None, *, final: bool = False) -> Stream[tuple[K, Any]]:
        """Add up the records of each key, or what `of` makes of them.

        >>> import sage
        >>> letters = sage.Flow("f").from_collection(["ant", "bee", "ape"]).key_by(lambda w: w[0]).sum(len, final=True)
        """
        return Stream(self._builder, self._then(spec.Aggregate("sum", of, final)))

    @overload
    def min(self, of: None = None, *, final: bool = False) -> Stream[tuple[K, T]]: ...
    @overload
    def min(self, of: Callable[[T], V], *, final: bool = False) -> Stream[tuple[K, V]]: ...
    def min(self, of: Callable[[T], Any] | None = None, *, final: bool = False) -> Stream[tuple[K, Any]]:
        """Keep the least record of each key, or the least of what `of` makes of them.

        >>> import sage
        >>> least = sage.Flow("f").from_collection([5, 2, 4]).key_by(lambda n: n % 2).min(final=True)
        """
        return Stream(self._builder, self._then(spec.Aggregate("min", of, final)))

    @overload
    def max(self, of: None = None, *, final: bool = False) -> Stream[tuple[K, T]]: ...
    @overload
    def max(self, of: Callable[[T], V], *, final: bool = False) -> Stream[tuple[K, V]]: ...
    def max(self, of: Callable[[T], Any] | None = None, *, final: bool = False) -> Stream[tuple[K, Any]]:
        """Keep the greatest record of each key, or the greatest of what `of` makes of them.

        >>> import sage
        >>> greatest = sage.Flow("f").from_collection([5, 2, 4]).key_by(lambda n: n % 2).max(final=True)
        """
        return Stream(self._builder, self._then(spec.Aggregate("max", of, final)))

    def reduce(self, fn: Callable[[T, T], T], *, final: bool = False) -> Stream[tuple[K, T]]:
        """Join the records of each key by `fn(so far, record)`; the first is taken as it is.

        >>> import sage
        >>> joined = sage.Flow("f").from_collection(["ant", "ape"]).key_by(lambda w: w[0]).reduce(str.__add__)
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
        >>> totals = sage.Flow("f").from_collection([1, 2, 3]).key_by(lambda n: n % 2).fold(0, lambda a, n: a + n)
        """
        return Stream(self._builder, self._then(spec.Fold(initial, fn, final)))
