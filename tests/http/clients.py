"""The ways in which tests call a gateway: OpenAI's own clients, httpx, and a bare socket."""

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
from openai import AsyncOpenAI, OpenAI

T = TypeVar("T")
WAIT_S = 10.0


@contextmanager
def openai_client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=WAIT_S) as client:
        yield client


def with_async_client(url: str, use: Callable[[AsyncOpenAI], Coroutine[Any, Any, T]]) -> T:
    """Run `use(client)` on an event loop of its own."""

    async def run() -> T:
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=WAIT_S) as client:
            return await use(client)

    return asyncio.run(run())


def post(url: str, path: str, body: object | bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    """POST `body`, as JSON unless it is bytes."""
    given = {"content-type": "application/json", **(headers or {})}
    if isinstance(body, bytes):
        return httpx.post(url + path, content=body, headers=given, timeout=WAIT_S)
    return httpx.post(url + path, json=body, headers=given, timeout=WAIT_S)


@contextmanager
def raw_connection(url: str, *, receive_buffer_bytes: int | None = None) -> Iterator[socket.socket]:
    """A bare TCP connection, for what no proper client does."""
    at = httpx.URL(url)
    connection = socket.socket()
    if receive_buffer_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    connection.settimeout(WAIT_S)
    connection.connect((at.host, at.port))
    with connection:
        yield connection


def raw_post(path: str, body: bytes) -> bytes:
    """Return the bytes of a POST."""
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def read_until(connection: socket.socket, mark: bytes) -> bytes:
    """Read until `mark` has come; return all that came."""
    data = b""
    while mark not in data:
        more = connection.recv(65536)
        assert more, f"closed after {data!r}"
        data += more
    return data


def read_rest(connection: socket.socket) -> bytes:
    """Read until the connection is closed or reset; return all that came."""
    data = b""
    try:
        while more := connection.recv(65536):
            data += more
    except ConnectionResetError:
        pass
    return data
