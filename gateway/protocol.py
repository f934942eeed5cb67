"""uvicorn's HTTP protocol with the bounds it lacks: on heads, on slow senders and on readers that stop. Knows no route.

Without them a client that sends its head a byte a minute, or never reads, holds a connection for ever.
"""

import asyncio
from enum import Enum
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.errors import RequestRefused, problem_of

HEAD_TIMEOUT_S = 10.0
MESSAGE_TIMEOUT_S = 45.0  # a little more than a route waits for its body: the route's answer is the better one
STALLED_TIMEOUT_S = 30.0
MAX_HEAD_BYTES = 16 * 1024
WRITE_BUFFER_BYTES = 64 * 1024


class Stage(Enum):
    """How much of a request has come."""

    NONE = "none"
    HEAD = "head"
    BODY = "body"


class HeadTooLarge(Exception):
    """More head than anyone needs; the parser hands it on as its own error."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    A head is whole within `head_timeout_s` and MAX_HEAD_BYTES, a request within `message_timeout_s`, or the connection
    is cut. So is one whose client reads nothing for `stalled_timeout_s` while WRITE_BUFFER_BYTES wait for it: whoever
    answers it then sees a disconnect.
    """

    head_timeout_s = HEAD_TIMEOUT_S
    message_timeout_s = MESSAGE_TIMEOUT_S
    stalled_timeout_s = STALLED_TIMEOUT_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stage = Stage.NONE
        self._timed_stage: Stage | None = None
        self._request_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._len_head_bytes = 0
        self._len_fed_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._time(Stage.HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        self._time(None)
        _cancel(self._stall_timer)
        self._stall_timer = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._len_fed_bytes += len(data)
        super().data_received(data)
        if self._stage is Stage.HEAD and self._len_fed_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._len_head_bytes = self._len_fed_bytes
            self.send_400_response("head too large")
        awaited = self._awaited()
        if awaited is not self._timed_stage:
            self._time(awaited)

    def _awaited(self) -> Stage | None:
        """Return what the client owes us: the rest of a request, or, where nothing is being answered, a new one."""
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn types it as if it were always there
        is_answering = cycle is not None and not cycle.response_complete
        if self._stage is Stage.NONE and (is_answering or self._len_fed_bytes == 0):
            return None  # the request is whole; between two of them uvicorn's own keep-alive timer runs
        return Stage.HEAD if self._stage is Stage.NONE else self._stage

    def on_message_begin(self) -> None:
        self._stage, self._len_head_bytes = Stage.HEAD, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stage = Stage.BODY
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._stage, self._len_fed_bytes = Stage.NONE, 0
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(self.stalled_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        _cancel(self._stall_timer)
        self._stall_timer = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request; uvicorn calls this for whatever its parser refuses."""
        is_large = self._len_head_bytes > MAX_HEAD_BYTES
        error = (
            RequestRefused(f"The head is longer than {MAX_HEAD_BYTES} bytes.", reason="head_too_large", status=431)
            if is_large
            else RequestRefused("This is no HTTP request.", reason="invalid_http")
        )
        body = problem_of(error, "none").json()
        status = b"431 Request Header Fields Too Large" if is_large else b"400 Bad Request"
        head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (status, len(body)) + body)
        self.transport.close()

    def _count_head(self, num_bytes: int) -> None:
        self._len_head_bytes += num_bytes
        if self._len_head_bytes > MAX_HEAD_BYTES:
            raise HeadTooLarge

    def _time(self, stage: Stage | None) -> None:
        """Start the deadline of `stage`; None: nothing is awaited from the client."""
        _cancel(self._request_timer)
        self._request_timer, self._timed_stage = None, stage
        if stage is not None:
            timeout_s = self.message_timeout_s if stage is Stage.BODY else self.head_timeout_s
            self._request_timer = self.loop.call_later(timeout_s, self.transport.abort)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
