"""A head that only answers as a test says, over a real socket, on a thread of its own."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import zmq

from cluster.client.line import HeadLine
from cluster.runtime.channel import ControlServer, PeerMessage
from cluster.runtime.control_clients import ClientToHead, Greet, Greeting, HeadToClient
from sage.base.codec import Codec

STOP_S = 10.0

Answer = Callable[[ClientToHead], Iterable[HeadToClient]]


class ScriptedHead:
    """Answers Greet by itself and everything else by `answer`; `heard` is what came."""

    def __init__(self, folder: Path, answer: Answer, *, greets: bool = True, epoch: int = 1) -> None:
        self.path = folder / "head"
        self.heard: list[ClientToHead] = []
        self._answer = answer
        self._greets = greets
        self._epoch = epoch
        self._stop_read, self._stop_write = os.pipe()
        self._is_up = threading.Event()
        self._ending = threading.Lock()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        assert self._is_up.wait(STOP_S)

    def attach(self, socket: "zmq.Socket[bytes]") -> None:
        socket.connect(f"ipc://{self.path}")

    def end(self) -> None:
        """End at once, connections and all; again, or from another thread meanwhile, it does no more than that."""
        with self._ending:
            if self._thread.is_alive():
                os.write(self._stop_write, b"x")
                self._thread.join(STOP_S)
                os.close(self._stop_read)
                os.close(self._stop_write)

    def _serve(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        codec: Codec[ClientToHead] = Codec(ClientToHead)  # type: ignore[arg-type]  # a union is no class to mypy
        server = ControlServer(context, codec, [lambda socket: socket.bind(f"ipc://{self.path}")])
        poller = zmq.Poller()
        for fd in (*server.fds(), self._stop_read):
            poller.register(fd, zmq.POLLIN)
        self._is_up.set()
        while self._stop_read not in dict(poller.poll()):
            while came := list(server.drain()):
                for message in came:
                    assert isinstance(message, PeerMessage), message
                    self.heard.append(message.message)
                    for reply in self._replies(message.message):
                        server.send(message.peer, reply)
        server.close()
        context.term()

    def _replies(self, message: ClientToHead) -> Iterable[HeadToClient]:
        if isinstance(message, Greet) and self._greets:
            return [Greeting(message.question, "scripted", os.getpid(), 60.0, 180.0, epoch=self._epoch)]
        return self._answer(message)


@contextmanager
def line_to(folder: Path, answer: Answer, *, reconnect_s: float = 0.0) -> Iterator[tuple[ScriptedHead, HeadLine]]:
    """Give a head that answers so, and a line to it that has greeted."""
    head = ScriptedHead(folder, answer)
    try:
        line = HeadLine(head.attach, where="scripted", reconnect_s=reconnect_s)
        try:
            line.greet("test")
            yield head, line
        finally:
            line.close()
    finally:
        head.end()
