"""An engine link without a process, over a socket pair, that says what a test tells it to. Knows no shell."""

import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from cluster.runtime.control_engine_log import EngineLog, LogMark
from cluster.serving.engines.link import HostLost
from cluster.serving.engines.port import (
    WIRE_VERSION,
    Abort,
    EngineInfo,
    FromHost,
    Ready,
    Replies,
    Run,
    Shutdown,
    ToHost,
)
from sage.base.errors import InvalidRequest
from sage.base.ids import EngineId, RequestId
from sage.base.inference import EmbedRequest, Reply, Request, Token
from tests.unit.serving.arrange import embedded, finished

Answering = Callable[[Request], list[Reply]]


class ScriptedLink:
    """`sent` is what it was given. With `answering`, each request is answered at once; else by `say`."""

    def __init__(self, info: EngineInfo, *, answering: Answering | None = None) -> None:
        self.engine_id: EngineId = info.engine_id
        self.models = tuple(card.name for card in info.models)
        self.is_asked = False
        self.info = info
        self.sent: list[ToHost] = []
        self.num_asked = 0
        self.takes_messages = True
        self.closed_within_s: float | None = None
        self._answering = answering
        self._messages: deque[FromHost | HostLost] = deque()
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)

    def fds(self) -> tuple[int, ...]:
        return (self._near.fileno(),)

    def log(self, mark: LogMark | None) -> EngineLog:
        raise InvalidRequest(f"nobody writes a log for {self.engine_id}")

    def send(self, message: ToHost) -> bool:
        if not self.takes_messages or self.closed_within_s is not None:
            return False
        self.sent.append(message)
        if isinstance(message, Run) and self._answering is not None:
            for request in message.requests:
                self.say(Replies(tuple(self._answering(request))))
        return True

    def drain(self) -> list[FromHost | HostLost]:
        with suppress(BlockingIOError):
            while self._near.recv(4096):
                pass
        messages = []
        while self._messages:  # one by one: a test's thread may add meanwhile
            messages.append(self._messages.popleft())
        return messages

    def ask(self) -> None:
        """Count the questions; it never hangs by itself."""
        self.num_asked += 1

    def close(self, timeout_s: float) -> None:
        if self.closed_within_s is None:
            self.closed_within_s = timeout_s
            self._near.close()
            self._far.close()

    # What the test does.

    def say(self, *messages: FromHost | HostLost) -> None:
        """Have these come at the next `drain`; makes the descriptor readable."""
        self._messages.extend(messages)
        self._far.send(b"\0")

    def is_ready(self) -> None:
        self.say(Ready(WIRE_VERSION, self.info))

    def reply(self, *replies: Reply) -> None:
        self.say(Replies(replies))

    def ran(self) -> list[str]:
        """Return the ids of all requests it was given."""
        return [request.id for message in self.sent if isinstance(message, Run) for request in message.requests]

    def aborted(self) -> list[str]:
        return [id for message in self.sent if isinstance(message, Abort) for id in message.request_ids]

    def was_shut_down(self) -> bool:
        return any(isinstance(message, Shutdown) for message in self.sent)


def at_once(request: Request) -> list[Reply]:
    """Answer a request with two tokens, or with one vector."""
    if isinstance(request, EmbedRequest):
        return [embedded(request.id)]
    return [token(request.id, "Hel"), token(request.id, "lo"), finished(request.id)]


def token(id: str, text: str = "x") -> Token:
    return Token(RequestId(id), text)
