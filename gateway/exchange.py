"""One HTTP exchange over plain ASGI: the body within its bounds, the answer, and the moment the client leaves.

Knows nothing of models.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cluster.web.body import BodyLate, BodyLimits, BodyTooLong, Receive, Send, whole_body
from gateway.errors import Problem, RequestRefused
from gateway.headers import CallHeaders
from sage.base.ids import EngineId
from sage.base.inference import Embedded, Finished, Served, Token

Headers = list[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
EVENTS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class Exchange:
    """One request and its response. Not before `has_started` is anything sent."""

    __slots__ = ("_receive", "_send", "call", "engines", "has_started", "request_id", "served")

    def __init__(self, request_id: str, receive: Receive, send: Send) -> None:
        self.request_id = request_id
        self.call = CallHeaders()
        self.has_started = False
        self.served: Served | None = None  # by whom, as far as that is known when the head of the answer is sent
        self.engines: tuple[EngineId, ...] = ()
        self._receive = receive
        self._send = send

    async def body(self, limits: BodyLimits) -> bytearray:
        """Return the whole body; raises RequestRefused (413, 408) or ClientGone."""
        try:
            return await whole_body(self._receive, limits, self.call.content_length)
        except BodyTooLong:
            what = f"The body is longer than {limits.max_bytes} bytes."
            raise RequestRefused(what, reason="request_too_large", status=413) from None
        except BodyLate:
            what = f"The body did not come within {limits.timeout_s:g} s."
            raise RequestRefused(what, reason="body_timeout", status=408) from None

    @contextmanager
    def watch(self, on_gone: Callable[[], None]) -> Iterator[None]:
        """Call `on_gone` as soon as the client leaves, while the block lasts; the body must have been read."""
        watcher = asyncio.get_running_loop().create_task(self._until_gone(on_gone))
        try:
            yield
        finally:
            watcher.cancel()

    async def _until_gone(self, on_gone: Callable[[], None]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        on_gone()

    def served_by(self, *replies: Token | Finished | Embedded) -> None:
        """Take note of who served these, for the head of the answer; what a flow says names nobody."""
        for reply in replies:
            if reply.served is not None:
                self.served = self.served or reply.served
                self.engines += (reply.served.engine_id,)
            elif isinstance(reply, Embedded):  # cached
                self.engines += (reply.engine_id,)

    async def answer(self, data: bytes, status: int = 200, headers: Headers | None = None) -> None:
        """Send a whole JSON response."""
        self.has_started = True
        length = (b"content-length", b"%d" % len(data))
        given = [JSON, length, *self._own(), *(headers or [])]
        await self._send({"type": "http.response.start", "status": status, "headers": given})
        await self._send({"type": "http.response.body", "body": data})

    async def refuse(self, problem: Problem) -> None:
        """Send an error: as a response of its own, or, once events flow, as the last event."""
        if self.has_started:
            await self.events(b"data: " + problem.json() + b"\n\n", is_last=True)
            return
        close = [(b"connection", b"close")] if problem.status in (408, 413) else []
        await self.answer(problem.json(), problem.status, problem.headers() + close)

    async def events(self, data: bytes, *, is_last: bool = False) -> None:
        """Send server-sent events, ready-made; waits while the client does not read."""
        if not self.has_started:
            self.has_started = True
            await self._send({"type": "http.response.start", "status": 200, "headers": [*EVENTS, *self._own()]})
        await self._send({"type": "http.response.body", "body": data, "more_body": not is_last})

    def _own(self) -> Headers:
        """Return the request's id, and who served it."""
        own = [(b"x-request-id", self.request_id.encode())]
        if self.served is not None:
            own.append((b"x-sage-policy", self.served.policy.encode()))
            own.append((b"x-sage-route", self.served.route.encode()))
            if self.served.num_taken_back:
                own.append((b"x-sage-taken-back", str(self.served.num_taken_back).encode()))
        if self.engines:
            own.append((b"x-sage-engine", ", ".join(dict.fromkeys(self.engines)).encode()))
        return own
