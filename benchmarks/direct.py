"""Drives an engine in this process, as fast as it goes: the limit for whoever asks through the plane.

Knows nothing of streams or of the plane.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

from cluster.serving.engines.port import Engine
from sage.base.errors import InternalError
from sage.base.ids import RequestId
from sage.base.inference import (
    ChatMessage,
    ChatRequest,
    Embedded,
    EmbedRequest,
    Failed,
    Finished,
    Last,
    Request,
    Sampling,
    Token,
)


@dataclass(frozen=True, slots=True)
class DirectAnswer:
    """A whole answer and what it cost."""

    text: str
    num_tokens: int


def embed_all(engine: Engine, model: str, texts: Sequence[str], *, batch_texts: int) -> Any:
    """Return the vectors, float32 [num_texts, dim], of `texts` embedded in requests of `batch_texts`."""
    import numpy as np

    requests = [
        EmbedRequest(RequestId(f"direct-{at}"), model, tuple(texts[at : at + batch_texts]))
        for at in range(0, len(texts), batch_texts)
    ]
    ended = _Run(engine, requests, num_at_once=2).to_end()
    parts = [last for request in requests if isinstance(last := ended[request.id], Embedded)]
    return np.concatenate([np.frombuffer(part.vectors, "<f4").reshape(-1, part.dim) for part in parts])


def answer_all(
    engine: Engine, model: str, prompts: Sequence[str], *, num_at_once: int, max_tokens: int
) -> list[DirectAnswer]:
    """Return an answer a prompt, in order, with `num_at_once` of them in work as long as there are so many."""
    sampling = Sampling(max_tokens=max_tokens)
    requests = [
        ChatRequest(RequestId(f"direct-{at}"), model, (ChatMessage("user", prompt),), sampling)
        for at, prompt in enumerate(prompts)
    ]
    run = _Run(engine, requests, num_at_once=num_at_once)
    ended = run.to_end()
    return [
        DirectAnswer(run.texts.get(request.id, ""), last.usage.completion_tokens)
        for request in requests
        if isinstance(last := ended[request.id], Finished)
    ]


class _Run:
    """Requests on their way through an engine, some at a time."""

    def __init__(self, engine: Engine, requests: Sequence[Request], *, num_at_once: int) -> None:
        self._engine = engine
        self._waiting = list(reversed(requests))
        self._num_free = num_at_once
        self.texts: dict[RequestId, str] = {}
        self._ended: dict[RequestId, Last] = {}

    def to_end(self) -> dict[RequestId, Last]:
        """Return how each request ended; raises what one failed with."""
        self._fill()
        while self._engine.has_work():
            self._step()
        return self._ended

    def _fill(self) -> None:
        while self._num_free and self._waiting:
            self._num_free -= 1
            self._engine.add([self._waiting.pop()])

    def _step(self) -> None:
        replies = self._engine.step()
        for reply in replies:
            match reply:
                case Token(request_id, text):
                    self.texts[request_id] = self.texts.get(request_id, "") + text
                case Failed(failure=failure):
                    raise failure.error()
                case _:
                    self._ended[reply.request_id] = reply
                    self._num_free += 1
        self._fill()
        if not replies:
            self._wait()

    def _wait(self) -> None:
        due_in_s = self._engine.due_in_s()
        if due_in_s is None and self._engine.has_work():
            raise InternalError("an engine has work and is never due")
        Event().wait(due_in_s)
