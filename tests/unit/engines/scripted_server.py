"""A server of HTTP/1.1 that answers what a test wrote down, byte for byte, and notes who hung up."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from cluster.serving.engines.loop_thread import LoopThread

WAIT_S = 10.0
HANG = b"(hang)"
"""At the end of an answer: keep the connection open and say no more."""


def http(body: bytes, *, status: int = 200, kind: str = "application/json", more: str = "") -> bytes:
    """Return a whole answer."""
    return _head(status, kind, f"content-length: {len(body)}\r\n{more}") + body


def events(*data: str, cut: bool = False) -> bytes:
    """Return an answer of server-sent events in chunks; where it is `cut`, its last chunk is missing."""
    chunks = [f"data: {one}\n\n".encode() for one in data]
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return _head(200, "text/event-stream", "transfer-encoding: chunked\r\n") + body + (b"" if cut else b"0\r\n\r\n")


def _head(status: int, kind: str, more: str) -> bytes:
    return f"HTTP/1.1 {status} Said\r\ncontent-type: {kind}\r\nconnection: close\r\n{more}\r\n".encode()


@dataclass(slots=True)
class ScriptedServer:
    """`answers`: by path, what is sent for a request; what stands there last is sent again and again."""

    url: str = ""
    answers: dict[str, list[bytes]] = field(default_factory=dict)
    heard: list[bytes] = field(default_factory=list)
    was_asked: threading.Event = field(default_factory=threading.Event)  # anything but for its models
    was_left: threading.Event = field(default_factory=threading.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), 0
            )
            self.heard.append(head + await reader.readexactly(length))
            answer = self._answer(head.split(b" ")[1].decode())
            if head.startswith(b"POST"):
                self.was_asked.set()
            writer.write(answer.removesuffix(HANG))
            await writer.drain()
            if answer.endswith(HANG):
                with suppress(ConnectionResetError):  # who leaves may do so with a piece unread
                    await reader.read()
                self.was_left.set()
        finally:
            writer.close()

    def _answer(self, path: str) -> bytes:
        said = self.answers.get(path) or [http(b'{"error": {"message": "no such route"}}', status=404)]
        return said.pop(0) if len(said) > 1 else said[0]


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    """Serve for as long as the block lasts."""
    thread, script = LoopThread("scripted server"), ScriptedServer()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(script.serve, "127.0.0.1", 0)

    async def stop(server: asyncio.Server) -> None:
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    server = thread.ask(start(), WAIT_S)
    try:
        script.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield script
    finally:
        thread.ask(stop(server), WAIT_S)
        thread.close()
