"""uvicorn's HTTP protocol with the bounds it lacks: on heads, on slow senders and on readers that stop. Knows no route.

Without them a client that sends its head a byte a minute, or never reads, holds a connection for ever.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from cluster.web.no_request import MAX_HEAD_BYTES, NoRequest

WRITE_BUFFER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """`head_s`: from a connection or its first byte to a whole head; `message_s`: from there to a whole request;
    `stalled_s`: for which a client may read nothing while WRITE_BUFFER_BYTES wait for it. `max_connections`: at a time.
    """

    head_s: float = 10.0
    message_s: float = 45.0  # a little more than a route waits for its body: the route's answer is the better one
    stalled_s: float = 30.0
    max_connections: int | None = None


class Received(Enum):
    """How much of a request has come."""

    NONE = "none"
    HEAD = "head"
    BODY = "body"


class HeadTooLarge(Exception):
    """More head than anyone needs; the parser hands it on as its own error."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection, cut off where a limit is passed; whoever answers it then sees a disconnect."""

    def __init__(self, *args: Any, limits: Limits, said_of: Callable[[NoRequest], bytes], **kwargs: Any) -> None:
        """`said_of`: the JSON body of the answer to what is no request."""
        super().__init__(*args, **kwargs)
        self._said_of = said_of
        self._limits = limits
        self._stage = Received.NONE
        self._timed_stage: Received | None = None
        self._request_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._len_head_bytes = 0
        self._len_fed_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._time(Received.HEAD)
        most = self._limits.max_connections
        if most is not None and len(self.connections) > most:
            self._refuse(NoRequest.CROWDED)

    def connection_lost(self, exc: Exception | None) -> None:
        self._time(None)
        _cancel(self._stall_timer)
        self._stall_timer = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._len_fed_bytes += len(data)
        super().data_received(data)
        if self._stage is Received.HEAD and self._len_fed_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._len_head_bytes = self._len_fed_bytes
            self.send_400_response("head too large")
        awaited = self._awaited()
        if awaited is not self._timed_stage:
            self._time(awaited)

    def _awaited(self) -> Received | None:
        """Return what the client owes us: the rest of a request, or, where nothing is being answered, a new one."""
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn types it as if it were always there
        is_answering = cycle is not None and not cycle.response_complete
        if self._stage is Received.NONE and (is_answering or self._len_fed_bytes == 0):
            return None  # the request is whole; between two of them uvicorn's own keep-alive timer runs
        return Received.HEAD if self._stage is Received.NONE else self._stage

    def on_message_begin(self) -> None:
        self._stage, self._len_head_bytes = Received.HEAD, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stage = Received.BODY
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._stage, self._len_fed_bytes = Received.NONE, 0
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(self._limits.stalled_s, self.transport.abort)

    def resume_writing(self) -> None:
        _cancel(self._stall_timer)
        self._stall_timer = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request; uvicorn calls this for whatever its parser refuses."""
        self._refuse(NoRequest.TOO_LARGE if self._len_head_bytes > MAX_HEAD_BYTES else NoRequest.NOT_HTTP)

    def _refuse(self, fault: NoRequest) -> None:
        body = self._said_of(fault)
        head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (fault.value, len(body)) + body)
        self.transport.close()

    def _count_head(self, num_bytes: int) -> None:
        self._len_head_bytes += num_bytes
        if self._len_head_bytes > MAX_HEAD_BYTES:
            raise HeadTooLarge

    def _time(self, stage: Received | None) -> None:
        """Start the deadline of `stage`; None: nothing is awaited from the client."""
        _cancel(self._request_timer)
        self._request_timer, self._timed_stage = None, stage
        if stage is not None:
            timeout_s = self._limits.message_s if stage is Received.BODY else self._limits.head_s
            self._request_timer = self.loop.call_later(timeout_s, self.transport.abort)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
