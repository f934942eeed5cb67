"""Steps of a stream that ask a model or an index about each record. Runs nothing, and knows no other step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from sage.base.inference import ServiceClass
from sage.flow import spec
from sage.flow.batches import Batches
from sage.flow.builder import StepNumber
from sage.flow.cached import kept_by
from sage.flow.check_numbers import whole_numbers
from sage.flow.ends import index_name
from sage.flow.given import refuse
from sage.flow.graph import OnError
from sage.flow.index import Index, Passage
from sage.flow.model_options import (
    BACKOFF_S,
    Cache,
    CallOptions,
    EmbedOptions,
    GenerateOptions,
    Priority,
    RerankOptions,
    Stop,
    Text,
    Value,
    service_class,
    stop_texts,
)
from sage.flow.where import refusal

if TYPE_CHECKING:  # importing NumPy takes longer than all of `import sage`
    import numpy as np
    from numpy.typing import NDArray

    from sage.flow.stream import Stream

    Vector = NDArray[np.float32]

T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")


class Questions(Batches[T_co]):
    """What of a stream asks about each record."""

    __slots__ = ()

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
        `timeout_s` bounds each try; it, `retries`, `backoff_s`, `ordered` and `cache` are as in `map_async`. `dedup`:
        records of one prompt share a request while it is out; if not said, where the answer is not left to chance.

        >>> import sage
        >>> questions = sage.Flow("f").from_collection([{"question": "Why?"}])
        >>> answers = questions.generate(model="smollm2", prompt="{question}", max_tokens=32, into="answer")
        """
        from sage.flow.stream import Stream  # which has this method: one thought in two files

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
        `backoff_s`, `ordered` and `cache` are as in `map_async`. Equal texts share a vector while it is asked for,
        unless `dedup` is False.

        >>> import sage
        >>> texts = sage.Flow("f").from_collection([{"text": "Pythons eat."}])
        >>> with_vectors = texts.embed(model="minilm", text="text", into="vector")
        """
        from sage.flow.stream import Stream  # which has this method: one thought in two files

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
        from sage.flow.stream import Stream  # which has this method: one thought in two files

        return Stream(self._builder, self._then(spec.Retrieve(index_name(index), k, vector, into)))

    @overload
    def rerank(self, *, into: str = "passages", **asked: Unpack[RerankOptions[T_co]]) -> Stream[T_co]: ...
    @overload
    def rerank(self, *, into: None, **asked: Unpack[RerankOptions[T_co]]) -> Stream[list[Passage]]: ...
    @overload
    def rerank(
        self, *, into: Callable[[T_co, list[Passage]], U], **asked: Unpack[RerankOptions[T_co]]
    ) -> Stream[U]: ...
    def rerank(
        self,
        *,
        model: str,
        query: Text[T_co] | None = None,
        passages: Value[T_co] = "passages",
        k: int | None = None,
        into: spec.Into = "passages",
        priority: Priority = ServiceClass.STANDARD,
        deadline_s: float | None = None,
        tenant: str = "default",
        max_in_flight: int = 64,
        dedup: bool | None = None,
        **calls: Unpack[CallOptions],
    ) -> Stream[Any]:
        """Have `model` score how well each of a record's passages answers its query; keep the best `k`, best first.

        `query` is a field's name, a template of them or a function of the record; without it the text that the last
        `embed` before this step made vectors of. `passages`, a field's name or a function, are what `retrieve` gives,
        or texts; each leaves as a Passage with its new score. `k` None keeps all. `into` is where the list goes, as in
        `retrieve`; with None it takes the record's place. A model that embeds scores too, by the cosine of the vectors.
        Equal questions share a request while it is out, unless `dedup` is False. The rest is as in `embed`.

        >>> import sage
        >>> found = sage.Flow("f").from_collection([{"question": "Why?", "passages": ["Because.", "No."]}])
        >>> ranked = found.rerank(model="minilm", query="question", k=1)
        """
        from sage.flow.stream import Stream  # which has this method: one thought in two files

        asked = self._builder.text_embedded_before(self._number) if query is None else query
        if asked is None:
            what = "rerank does not know what the passages are to answer: no step before it embeds a text of the record"
            raise refusal(what, 'Say which: query="question".', param="query")
        chosen = service_class(priority)
        step = spec.Rerank(model, asked, passages, k, chosen, deadline_s, tenant, into, max_in_flight, dedup=dedup)
        return Stream(self._builder, self._ask_model(step, **calls))

    def _ask_model(
        self,
        step: spec.ModelStep,
        *,
        timeout_s: float | None = None,
        retries: int = 0,
        backoff_s: float = BACKOFF_S,
        ordered: bool = True,
        cache: Cache = None,
        class_is_default: bool = False,
    ) -> StepNumber:
        kept = kept_by(cache)
        step = replace(step, timeout_s=timeout_s, backoff_s=backoff_s, ordered=ordered, cache=kept)
        return self._tried(self._builder.add(step, self._number, class_is_default=class_is_default), retries)

    def _tried(self, number: StepNumber, retries: int) -> StepNumber:
        """Have the calls of a step tried again so often before its record fails."""
        refuse(whole_numbers(retries=retries))
        if retries:
            self._builder.change(number, on_error=OnError.RETRY, retries=retries)
        return number
