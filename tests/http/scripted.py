"""An `Inference` that does what a test tells it: answers, waits, or fails. Knows no engine and no plane."""

import threading
from collections.abc import Callable, Sequence
from typing import Literal

from sage.base.errors import RequestCancelled
from sage.base.ids import EngineId, RequestId
from sage.base.inference import (
    Failed,
    Failure,
    Finished,
    Kind,
    ModelCard,
    Reply,
    ReplyTo,
    Request,
    Token,
    Usage,
)

CHAT = ModelCard("scripted", (Kind.CHAT, Kind.GENERATE), 4096)
EMBED = ModelCard("vectors", (Kind.EMBED,), 256, dim=4)
ENGINE = EngineId("scripted")
Script = Callable[[Request], Sequence[Reply]]


def says(*texts: str, reason: Literal["stop", "length"] = "stop") -> Script:
    """Return a script that answers at once with `texts`, a token each."""

    def script(request: Request) -> list[Reply]:
        tokens: list[Reply] = [Token(request.id, text) for text in texts]
        return [*tokens, Finished(request.id, reason, Usage(7, len(texts)), ENGINE)]

    return script


def begins(*texts: str) -> Script:
    """Return a script that answers with `texts` and then with nothing more, until cancelled."""
    return lambda request: [Token(request.id, text) for text in texts]


def fails(failure: Failure, *texts: str) -> Script:
    """Return a script that fails after `texts`."""
    return lambda request: [*(Token(request.id, text) for text in texts), Failed(request.id, failure)]


class ScriptedInference:
    """Answers every request by `script`. Tests wait for `submitted` and `cancelled`, events of another thread."""

    def __init__(self, script: Script, models: tuple[ModelCard, ...] = (CHAT, EMBED)) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.submitted = threading.Event()
        self.cancelled = threading.Event()
        self.cancelled_ids: list[RequestId] = []
        self.served = models
        self._reply_to: dict[RequestId, ReplyTo] = {}

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        self.requests += requests
        for request in requests:
            self._reply_to[request.id] = reply_to
            reply_to(self.script(request))
        self.submitted.set()

    def say(self, request: Request, replies: Sequence[Reply]) -> None:
        """Reply to a request that is open."""
        self._reply_to[request.id](replies)

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        self.cancelled_ids += request_ids
        for request_id in request_ids:
            failed = Failed(request_id, Failure.of(RequestCancelled("cancelled")))
            self._reply_to[request_id]([failed])
        self.cancelled.set()

    def models(self) -> tuple[ModelCard, ...]:
        return self.served
