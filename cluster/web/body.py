"""The body of a request over plain ASGI, within its bounds. Knows nothing of what is in it, or of answers."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

MAX_DISCARD_BYTES = 16 * 1024 * 1024  # of a refused body: read on, or its sender sees a reset instead of the answer

AsgiMessage = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[AsgiMessage]]
Send = Callable[[AsgiMessage], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How long a body may be, and how long it may take to come."""

    max_bytes: int
    timeout_s: float = 30.0


class ClientGone(Exception):
    """The client left before its request was whole."""


class BodyTooLong(Exception):
    """The body has more bytes than it may."""


class BodyLate(Exception):
    """The body did not come in time."""


async def whole_body(receive: Receive, limits: BodyLimits, content_length: int | None) -> bytearray:
    """Return the whole body. Raises BodyTooLong, BodyLate or ClientGone.

    `content_length`: what the head says of it, None where it says nothing.
    """
    if content_length is not None and content_length > limits.max_bytes:
        await discard(receive, limits.timeout_s)
        raise BodyTooLong
    try:
        async with asyncio.timeout(limits.timeout_s):
            return await _read(receive, limits)
    except TimeoutError:
        raise BodyLate from None


async def _read(receive: Receive, limits: BodyLimits) -> bytearray:
    data = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        data += message.get("body", b"")
        if len(data) > limits.max_bytes:
            if message.get("more_body", False):
                await discard(receive, limits.timeout_s)
            raise BodyTooLong
        if not message.get("more_body", False):
            return data


async def discard(receive: Receive, timeout_s: float) -> None:
    """Read on for a while, so that a sender in the middle of its body comes to read the answer. Raises ClientGone."""
    num_bytes = 0
    try:
        async with asyncio.timeout(timeout_s):
            while num_bytes < MAX_DISCARD_BYTES:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                num_bytes += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return
