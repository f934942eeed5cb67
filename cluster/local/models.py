"""Models asked from Python, by any thread: the shell around an inquiry. Knows neither engines nor how they start."""

import queue
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, Unpack, overload

from cluster.local.inquiries import (
    Inquiry,
    chat_inquiry,
    embed_inquiry,
    embeddings_from,
    prompt_inquiry,
)
from cluster.local.open_inquiry import InquiryPorts, OpenInquiry
from cluster.local.rankings import rank_inquiry
from cluster.local.read_answer import ReadAnswer
from cluster.local.retries import RetryBudget
from cluster.local.terms import checked_flag
from sage.base.answers import Completion, Embeddings, Ranking
from sage.base.clock import Clock
from sage.base.errors import NoEngine, RequestCancelled
from sage.base.ids import RequestId, new_id
from sage.base.inference import Inference, Kind, Last, Reply, Request, Token, kind_of
from sage.flow.models import AskOptions, AsyncModels, ChatOptions, Conversation, PromptOptions
from sage.flow.runner import EngineStatus

if TYPE_CHECKING:
    from cluster.local.async_models import CoroutineModels

Serve = Callable[[str, Kind], None]
"""Has engines of a model run that do this; raises UnknownModel, ModelMissing, NoRoom. May take its time."""


Engines = Callable[[], list[EngineStatus]]


class Asker:
    """What all inquiries to the models of one cluster share; for any thread."""

    def __init__(
        self, inference: Inference, serve: Serve, engines: Engines, clock: Clock, rng: Random | None = None
    ) -> None:
        rng = rng if rng is not None else Random()
        prefix, numbers = new_id("q", rng, num_chars=10), count()
        self.inference = inference
        self.engines = engines
        self.clock = clock
        self._serve = serve
        self._served: frozenset[tuple[str, Kind]] = frozenset()  # replaced whole: several threads read and change it
        self._ports = InquiryPorts(lambda: RequestId(f"{prefix}{next(numbers):06x}"), rng.random, RetryBudget())

    def prepare(self, inquiry: Inquiry) -> None:
        """Have the model run that is asked; costs nothing once it did."""
        first = inquiry.requests[0]
        wanted = first.model, kind_of(first)
        if wanted not in self._served:
            self._serve(*wanted)
            self._served |= {wanted}

    def begin(self, inquiry: Inquiry) -> OpenInquiry:
        """Return the inquiry, not asked yet."""
        return OpenInquiry(inquiry, self._ports, self.clock.monotonic_s())

    def leave(self, open_inquiry: OpenInquiry) -> None:
        """End what is still out of an inquiry that is over, or that nobody waits for any more."""
        if isinstance(open_inquiry.error, NoEngine):  # whoever asks next sees to it that there is one
            self._served = frozenset(served for served in self._served if served[0] != open_inquiry.model)
        if out := open_inquiry.out():
            self.inference.cancel(out)


class _Waiting:
    """An inquiry, and the thread that waits for it. What nobody has read is no longer than the answer may be."""

    def __init__(self, asker: Asker, inquiry: Inquiry) -> None:
        self._asker = asker
        self._came: queue.SimpleQueue[Sequence[Reply]] = queue.SimpleQueue()
        self.open_inquiry = asker.begin(inquiry)  # its deadline counts from here: the start of an engine is part of it
        asker.prepare(inquiry)

    def advance(self) -> list[Token]:
        """Wait until tokens are there, and return them; [] once all is over. Raises what the inquiry failed with."""
        open_inquiry = self.open_inquiry
        try:
            while True:
                if tokens := open_inquiry.take_tokens():
                    return tokens
                self._submit(open_inquiry.due(self._now_s()))
                if open_inquiry.error is not None:
                    raise open_inquiry.error
                if open_inquiry.is_over:
                    return []
                self._wait()
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """End what is out."""
        self.open_inquiry.fail(RequestCancelled("whoever asked has left"))
        self._asker.leave(self.open_inquiry)

    def _wait(self) -> None:
        try:
            replies = self._came.get(timeout=self.open_inquiry.wait_s(self._now_s()))
        except queue.Empty:
            return
        for reply in replies:
            self.open_inquiry.take(reply, self._now_s())

    def _submit(self, requests: Sequence[Request]) -> None:
        if requests:
            self._asker.inference.submit(requests, self._came.put)

    def _now_s(self) -> float:
        return self._asker.clock.monotonic_s()


class WaitedTokens:
    """A TokenStream; used by one thread at a time."""

    def __init__(self, asker: Asker, inquiry: Inquiry) -> None:
        self._waiting = _Waiting(asker, inquiry)
        self._read = ReadAnswer(self._waiting.open_inquiry, "for token in stream")

    @property
    def answer(self) -> Completion:
        return self._read.answer

    def __iter__(self) -> Iterator[Token]:
        return self

    def __next__(self) -> Token:
        if self._read.is_dry:
            self._read.came(self._waiting.advance())
        token = self._read.next()
        if token is None:
            raise StopIteration
        return token

    def close(self) -> None:
        if not self._read.is_whole:
            self._waiting.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_read"):  # not where the model could not be asked at all
            self.close()


class AskedCluster:
    """The models of a cluster, as sage.flow.models.Models has them. `_asker` is set by who builds on this."""

    _asker: Asker

    @property
    def aio(self) -> AsyncModels:
        return self._coroutine_models()

    @overload
    def chat(
        self, messages: Conversation, *, model: str, stream: Literal[False] = False, **options: Unpack[ChatOptions]
    ) -> Completion: ...
    @overload
    def chat(
        self, messages: Conversation, *, model: str, stream: Literal[True], **options: Unpack[ChatOptions]
    ) -> WaitedTokens: ...
    def chat(
        self, messages: Conversation, *, model: str, stream: bool = False, **options: Unpack[ChatOptions]
    ) -> Completion | WaitedTokens:
        """Return the next message of a conversation; with `stream`, as it comes."""
        return self._asked(chat_inquiry(messages, model, options), stream=checked_flag(stream, "stream"))

    @overload
    def generate(
        self, prompt: str, *, model: str, stream: Literal[False] = False, **options: Unpack[PromptOptions]
    ) -> Completion: ...
    @overload
    def generate(
        self, prompt: str, *, model: str, stream: Literal[True], **options: Unpack[PromptOptions]
    ) -> WaitedTokens: ...
    def generate(
        self, prompt: str, *, model: str, stream: bool = False, **options: Unpack[PromptOptions]
    ) -> Completion | WaitedTokens:
        """Return what the model says to a prompt, as the step `generate` does; with `stream`, as it comes."""
        return self._asked(prompt_inquiry(prompt, model, options), stream=checked_flag(stream, "stream"))

    def embed(self, texts: str | Sequence[str], *, model: str, **options: Unpack[AskOptions]) -> Embeddings:
        """Return one vector a text."""
        return embeddings_from(self._lasts(embed_inquiry(texts, model, options)))

    def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        model: str,
        k: int | None = None,
        **options: Unpack[AskOptions],
    ) -> Ranking:
        """Return the documents by how well they answer `query`, the best first; with `k`, so many of them."""
        asked = rank_inquiry(query, documents, model, k, options)
        return asked.ranking(self._lasts(asked.inquiry))

    def _lasts(self, inquiry: Inquiry) -> list[Last]:
        waiting = _Waiting(self._asker, inquiry)
        while waiting.advance():
            pass
        return waiting.open_inquiry.lasts()

    def _asked(self, inquiry: Inquiry, *, stream: bool) -> Completion | WaitedTokens:
        tokens = WaitedTokens(self._asker, inquiry)
        if stream:
            return tokens
        for _token in tokens:
            pass
        return tokens.answer

    def _coroutine_models(self) -> "CoroutineModels":
        from cluster.local.async_models import CoroutineModels

        return CoroutineModels(self._asker)
