"""One OpenAI-compatible server, over HTTP: calls in, pieces of answers out. Knows no engine and no plane.

Nothing is asked twice, no redirect is followed (it could carry the key elsewhere), and every silence has an end.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import numpy as np
from numpy.typing import NDArray

from cluster.serving.engines.openai_failure import error_of_answer, error_of_event
from cluster.serving.engines.openai_scores import rerank_body, scores_of
from cluster.serving.engines.openai_wire import (
    DONE,
    AnswerPiece,
    ListedModel,
    embedding_body,
    generation_body,
    listed_model,
    listed_models,
    piece_of,
    vectors_of,
)
from cluster.serving.engines.server_address import key_of_server
from cluster.serving.engines.server_events import EventReader
from sage.base.errors import EngineLost, RequestFailed, SageError
from sage.base.ids import EngineId
from sage.base.inference import ChatRequest, EmbedRequest, GenerateRequest, ModelCard, ScoreRequest, Usage
from sage.base.log import get_log

CONNECT_S = 5.0
_LIST_PATIENCE = aiohttp.ClientTimeout(total=10.0)
_IDLE_S = 3.0  # servers commonly end a connection that rested for 5 s; ours ends before, or a request would meet that
_MAX_BODY_BYTES = 64 * 1024 * 1024
_SHORT_PATIENCE = aiohttp.ClientTimeout(total=20.0)
_MAX_SHORT_BYTES = 12 * 1024 * 1024  # less than a frame of an engine's host holds
_MAX_ERROR_BYTES = 64 * 1024


class Unreachable(EngineLost):
    """Nobody listens at the server's address."""


class Upstream:
    """A server; made, used and closed on one event loop."""

    def __init__(
        self, url: str, *, key_env: str = "", max_silence_s: float, environ: Mapping[str, str] = os.environ
    ) -> None:
        """`url` ends where `/chat/completions` follows. The key is what the variable `key_env` holds.

        Raises: ConfigInvalid where that is no key.
        """
        self._url = url
        self.where = url
        """What errors call the server: its address, for whoever starts it; once it is an engine, that."""
        self.closed = asyncio.Event()
        headers = {"accept-encoding": "identity"}
        if key_env:
            key = key_of_server(key_env, environ, f"Put the key of {url} into it.")
            headers["authorization"] = f"Bearer {key}"
        self._max_silence_s = max_silence_s
        self._patience = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=max_silence_s)
        self._session = aiohttp.ClientSession(
            headers=headers,
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def serves_as(self, engine_id: EngineId) -> None:
        """Let errors call the server by its engine from now on: who asks has no use for its address, which the log
        says."""
        self.where = f"engine {engine_id!r}"

    async def close(self) -> None:
        self.closed.set()
        await self._session.close()

    async def listed(self, model: str) -> ListedModel:
        """Return what the server says of `model`."""
        return listed_model(await self.all_listed(), model, self.where)

    async def all_listed(self) -> list[ListedModel]:
        """Return what the server says of all its models."""
        async with self._answer("GET", "/models", None, _LIST_PATIENCE) as answer:
            return listed_models(await self._body(answer), self.where)

    async def metrics(self) -> str:
        """Return what the server says of itself for Prometheus."""
        root = self._url.removesuffix("/v1")
        async with self._answer("GET", "/metrics", None, _LIST_PATIENCE, root) as answer:
            return (await self._body(answer)).decode("utf-8", "replace")

    async def at_root(self, path: str, body: object) -> bytes:
        """Return what the server answers beside `/v1`; raises NoSuchPath where there is nothing."""
        root = self._url.removesuffix("/v1")
        async with self._answer("POST", path, body, _SHORT_PATIENCE, root) as answer:
            return await self._body(answer, _MAX_SHORT_BYTES)

    async def embed(self, request: EmbedRequest, dim: int | None) -> tuple[NDArray[np.float32], Usage]:
        """Return float32 [num_texts, dim]."""
        async with self._answer("POST", "/embeddings", embedding_body(request)) as answer:
            return vectors_of(await self._body(answer), len(request.texts), dim, self.where)

    async def score(self, request: ScoreRequest) -> tuple[NDArray[np.float32], Usage]:
        """Return float32 [num_texts, 1]."""
        async with self._answer("POST", "/rerank", rerank_body(request)) as answer:
            return scores_of(await self._body(answer), len(request.texts), self.where)

    async def generate(
        self, request: ChatRequest | GenerateRequest, card: ModelCard, *, asks_prompt_ids: bool = False
    ) -> AsyncGenerator[AnswerPiece]:
        """Give the answer as it comes; the last piece has a reason. Leaving early ends the connection."""
        path = "/chat/completions" if isinstance(request, ChatRequest) else "/completions"
        body = generation_body(request, card, asks_prompt_ids=asks_prompt_ids)
        async with self._answer("POST", path, body) as answer:
            if answer.content_type != "text/event-stream":
                raise self._no_events(await self._body(answer), answer.content_type)
            reader = EventReader()
            async for data in answer.content.iter_any():
                for event in reader.feed(data):
                    if event == DONE:
                        return
                    if (error := error_of_event(event, self.where)) is not None:
                        raise error
                    yield piece_of(event, self.where)

    def _no_events(self, body: bytes, content_type: str) -> SageError:
        what = f"{self.where} answered with {content_type} where events were asked for"
        return error_of_event(body, self.where) or RequestFailed(what)

    async def _body(self, answer: aiohttp.ClientResponse, max_bytes: int = _MAX_BODY_BYTES) -> bytes:
        data = await answer.content.read(max_bytes + 1)
        parts = [data]
        while data and sum(map(len, parts)) <= max_bytes:
            parts.append(data := await answer.content.read(max_bytes))
        if data:
            raise RequestFailed(f"{self.where} answered with more than {max_bytes:,} bytes")
        return b"".join(parts)

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        body: object,
        patience: aiohttp.ClientTimeout | None = None,
        root: str | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask, and give the answer once its head has come; raises what a head of failure means."""
        data = None if body is None else msgspec.json.encode(body)
        headers = {"content-type": "application/json"} if data is not None else {}
        try:
            async with self._session.request(
                method,
                (root or self._url) + path,
                data=data,
                headers=headers,
                allow_redirects=False,
                timeout=patience or self._patience,
            ) as answer:
                if answer.status != 200:
                    said = await answer.content.read(_MAX_ERROR_BYTES)
                    self._log_status(answer.status)
                    raise error_of_answer(answer.status, said, answer.headers.get("retry-after"), self.where)
                yield answer
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            self._log(str(error))
            why = f": {error}" if self.where == self._url else ""  # its words hold the address, as those below
            raise Unreachable(f"nobody answers at {self.where}{why}", "Start the server.") from error
        except TimeoutError as error:
            self._log("silent for too long")
            waited_s = self._max_silence_s if patience is None else patience.total
            raise RequestFailed(f"{self.where} was silent for {waited_s:g} s") from error
        except aiohttp.ClientError as error:
            self._log(f"{type(error).__name__}: {error}")
            broke = f"broke its answer off: {type(error).__name__}"
            what = f"{self.where} {broke}: {error}" if self.where == self._url else f"{self.where} {broke}"
            raise EngineLost(what, "Try again.") from error

    def _log_status(self, status: int) -> None:
        """Tell what is wrong with a server, or with the key that we have for it, from what it had against a request:
        that is told to whoever asked, and of no concern to whoever runs it."""
        if 400 <= status < 500 and status not in (401, 403):
            if self.where != self._url:
                get_log().info("a server refused a request", called=self.where, server=self._url, status=status)
        else:
            self._log(f"answered {status}")

    def _log(self, what: str) -> None:
        """Say where an engine's server is that failed; its own words may quote what was asked."""
        if self.where != self._url:
            get_log().warning("a server failed", called=self.where, server=self._url, what=what)
