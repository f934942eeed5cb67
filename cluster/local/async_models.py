"""Models asked by coroutines: the other shell around an inquiry. Knows neither engines nor how they start."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from types import TracebackType
from typing import Literal, Self, Unpack, overload

from cluster.local.inquiries import (
    Inquiry,
    chat_inquiry,
    embed_inquiry,
    embeddings_from,
    prompt_inquiry,
)
from cluster.local.models import Asker
from cluster.local.rankings import rank_inquiry
from cluster.local.read_answer import ReadAnswer
from cluster.local.terms import checked_flag
from sage.base.answers import Completion, Embeddings, Ranking
from sage.base.errors import RequestCancelled
from sage.base.inference import Last, Reply, Request, Token
from sage.flow.models import AskOptions, ChatOptions, Conversation, PromptOptions
from sage.flow.runner import EngineStatus


class _Awaiting:
    """An inquiry, and the coroutine that awaits it; asked with the first `advance`.

    What nobody has read is no longer than the answer may be.
    """

    def __init__(self, asker: Asker, inquiry: Inquiry) -> None:
        self._asker = asker
        self._inquiry = inquiry
        self._came: asyncio.Queue[Sequence[Reply]] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.open_inquiry = asker.begin(inquiry)  # its deadline counts from here: the start of an engine is part of it

    async def advance(self) -> list[Token]:
        """Wait until tokens are there, and return them; [] once all is over. Raises what the inquiry failed with."""
        try:
            if self._loop is None and not self.open_inquiry.is_over:
                self._loop = asyncio.get_running_loop()
                await asyncio.to_thread(self._asker.prepare, self._inquiry)
            return await self._advance()
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """End what is out."""
        self.open_inquiry.fail(RequestCancelled("whoever asked has left"))
        self._asker.leave(self.open_inquiry)

    async def _advance(self) -> list[Token]:
        open_inquiry = self.open_inquiry
        while True:
            if tokens := open_inquiry.take_tokens():
                return tokens
            self._submit(open_inquiry.due(self._now_s()))
            if open_inquiry.error is not None:
                raise open_inquiry.error
            if open_inquiry.is_over:
                return []
            await self._wait()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self.open_inquiry.wait_s(self._now_s())):
                replies = await self._came.get()
        except TimeoutError:
            return
        for reply in replies:
            self.open_inquiry.take(reply, self._now_s())

    def _submit(self, requests: Sequence[Request]) -> None:
        if requests:
            self._asker.inference.submit(requests, self._put)

    def _put(self, replies: Sequence[Reply]) -> None:
        """Take replies on whatever thread they come."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._came.put_nowait, replies)
        except RuntimeError:
            assert self._loop.is_closed()  # nobody awaits them any more

    def _now_s(self) -> float:
        return self._asker.clock.monotonic_s()


class AwaitedTokens:
    """An AsyncTokenStream; asked with the first token that is awaited."""

    def __init__(self, asker: Asker, inquiry: Inquiry) -> None:
        self._awaiting = _Awaiting(asker, inquiry)
        self._read = ReadAnswer(self._awaiting.open_inquiry, "async for token in stream")

    @property
    def answer(self) -> Completion:
        return self._read.answer

    def __aiter__(self) -> AsyncIterator[Token]:
        return self

    async def __anext__(self) -> Token:
        if self._read.is_dry:
            self._read.came(await self._awaiting.advance())
        token = self._read.next()
        if token is None:
            raise StopAsyncIteration
        return token

    async def aclose(self) -> None:
        self._close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def __del__(self) -> None:
        self._close()

    def _close(self) -> None:
        if not self._read.is_whole:
            self._awaiting.leave()


class CoroutineModels:
    """The models of a cluster, as sage.flow.models.AsyncModels has them."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    @overload
    def chat(
        self, messages: Conversation, *, model: str, stream: Literal[False] = False, **options: Unpack[ChatOptions]
    ) -> Awaitable[Completion]: ...
    @overload
    def chat(
        self, messages: Conversation, *, model: str, stream: Literal[True], **options: Unpack[ChatOptions]
    ) -> AwaitedTokens: ...
    def chat(
        self, messages: Conversation, *, model: str, stream: bool = False, **options: Unpack[ChatOptions]
    ) -> Awaitable[Completion] | AwaitedTokens:
        """Return the next message of a conversation; with `stream`, as it comes."""
        return self._asked(chat_inquiry(messages, model, options), stream=checked_flag(stream, "stream"))

    @overload
    def generate(
        self, prompt: str, *, model: str, stream: Literal[False] = False, **options: Unpack[PromptOptions]
    ) -> Awaitable[Completion]: ...
    @overload
    def generate(
        self, prompt: str, *, model: str, stream: Literal[True], **options: Unpack[PromptOptions]
    ) -> AwaitedTokens: ...
    def generate(
        self, prompt: str, *, model: str, stream: bool = False, **options: Unpack[PromptOptions]
    ) -> Awaitable[Completion] | AwaitedTokens:
        """Return what the model says to a prompt, as the step `generate` does; with `stream`, as it comes."""
        return self._asked(prompt_inquiry(prompt, model, options), stream=checked_flag(stream, "stream"))

    async def embed(self, texts: str | Sequence[str], *, model: str, **options: Unpack[AskOptions]) -> Embeddings:
        """Return one vector a text."""
        return embeddings_from(await self._lasts(embed_inquiry(texts, model, options)))

    async def rerank(
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
        return asked.ranking(await self._lasts(asked.inquiry))

    async def _lasts(self, inquiry: Inquiry) -> list[Last]:
        awaiting = _Awaiting(self._asker, inquiry)
        while await awaiting.advance():
            pass
        return awaiting.open_inquiry.lasts()

    async def engines(self) -> list[EngineStatus]:
        """Return the engines that run, start or were lost."""
        return await asyncio.to_thread(self._asker.engines)

    def _asked(self, inquiry: Inquiry, *, stream: bool) -> Awaitable[Completion] | AwaitedTokens:
        tokens = AwaitedTokens(self._asker, inquiry)
        return tokens if stream else _whole(tokens)


async def _whole(tokens: AwaitedTokens) -> Completion:
    async for _token in tokens:
        pass
    return tokens.answer
