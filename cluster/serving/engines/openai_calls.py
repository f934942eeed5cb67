"""Requests on their way at an OpenAI-compatible server, each a task of one event loop. Knows no engine and no plane."""

import asyncio
import traceback
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Protocol

import numpy as np

from cluster.serving.engines.checks import failed
from cluster.serving.engines.openai_upstream import Unreachable, Upstream
from cluster.serving.engines.openai_wire import has_room_for_tokens
from cluster.serving.engines.port import EngineInfo
from sage.base.errors import ContextOverflow, EngineLost, InternalError, SageError
from sage.base.inference import (
    ChatRequest,
    Embedded,
    EmbedRequest,
    Finished,
    GenerateRequest,
    ModelCard,
    Reply,
    Request,
    TextsRequest,
    Token,
    Usage,
)

Came = Callable[[int, Reply | Unreachable], None]
"""Takes the number of a call and what it brought, on the loop's thread."""


class PromptWatch(Protocol):
    """Is told of prompts, on the loop's thread."""

    def asks_tokens(self, request: ChatRequest | GenerateRequest) -> bool:
        """Take that a prompt is asked for; say whether its tokens are wanted."""
        ...

    def prompted(
        self, request: ChatRequest | GenerateRequest, token_ids: Sequence[int], adapter: str | None = None
    ) -> None:
        """Take that the server has begun with a prompt, by an `adapter` where there is one, and its tokens where they
        were wanted."""
        ...


class OpenaiCalls:
    """At most `info.max_running` at once; the others wait. Used on the loop's thread."""

    def __init__(self, info: EngineInfo, upstream: Upstream, came: Came, watch: PromptWatch | None = None) -> None:
        """`watch` is told of each prompt that the server begins with."""
        self._info = info
        self._upstream = upstream
        self._came = came
        self._watch = watch
        self._slots = asyncio.Semaphore(info.max_running)
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def begin(self, call: int, request: Request, card: ModelCard) -> None:
        """Ask the server, once for each number; each reply comes by `came`, an end among them unless `end` is first."""
        task = asyncio.get_running_loop().create_task(self._call(call, request, card))
        self._tasks[call] = task
        task.add_done_callback(lambda _: self._tasks.pop(call, None))

    def end(self, call: int) -> None:
        """End the call, and with it the connection: the server learns that nobody waits any more."""
        if (task := self._tasks.get(call)) is not None:
            task.cancel()

    async def close(self) -> None:
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._upstream.close()

    async def _call(self, call: int, request: Request, card: ModelCard) -> None:
        try:
            async with self._slots:
                if isinstance(request, TextsRequest):
                    await self._texts(call, request, card)
                else:
                    await self._generate(call, request, card)
        except ContextOverflow as error:
            sizes = f"{error.what}; the context of {card.name!r} holds {card.context_tokens:,} tokens"
            self._came(call, failed(request.id, ContextOverflow(sizes, error.do, param=error.param)))
        except SageError as error:
            self._came(call, failed(request.id, error))
            if isinstance(error, Unreachable):
                self._came(call, error)
        except Exception as error:  # noqa: BLE001 - the last handler of a call: whoever asked gets an end
            traceback.print_exc()
            self._came(call, failed(request.id, InternalError(f"{type(error).__name__}: {error}")))

    async def _texts(self, call: int, request: TextsRequest, card: ModelCard) -> None:
        if isinstance(request, EmbedRequest):
            vectors, usage = await self._upstream.embed(request, card.dim)
        else:
            vectors, usage = await self._upstream.score(request)
        data = vectors.astype("<f4", copy=False).tobytes()
        dim = int(vectors.shape[1])
        assert vectors.dtype == np.float32, vectors.dtype
        self._came(call, Embedded(request.id, data, dim, usage, self._info.engine_id))

    async def _generate(self, call: int, request: ChatRequest | GenerateRequest, card: ModelCard) -> None:
        num_pieces, reason, usage, is_first = 0, None, None, True
        asks = self._watch is not None and has_room_for_tokens(request, card) and self._watch.asks_tokens(request)
        async with aclosing(self._upstream.generate(request, card, asks_prompt_ids=asks)) as pieces:
            async for piece in pieces:
                if is_first and self._watch is not None:
                    self._watch.prompted(request, piece.prompt_ids, None if card.parent is None else card.name)
                is_first = False
                reason, usage = piece.reason or reason, piece.usage or usage
                if piece.text:
                    num_pieces += 1
                    self._came(call, Token(request.id, piece.text))
        if reason is None:
            what = f"{self._upstream.where} ended its answer in the middle, after {num_pieces} pieces"
            raise EngineLost(what, "Try again.")
        usage = usage or Usage(completion_tokens=num_pieces)  # it was asked for, but not every server tells
        self._came(call, Finished(request.id, reason, usage, self._info.engine_id))
