"""The bodies that clients get, byte for byte as OpenAI has them. Pure; knows nothing of HTTP.

Chunks of a stream are made of prepared bytes around the one text that differs: an answer of 500 tokens has 500 of them.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from cluster.runtime.control_clients import ChatModel
from sage.base.inference import Embedded, Kind, ModelCard, Usage

DONE = b"data: [DONE]\n\n"
_encode = msgspec.json.Encoder().encode


class AnswerShape(Protocol):
    """The shape of one answer, whole or as events."""

    def opening(self) -> bytes:
        """Return the events before the first text; may be empty."""
        ...

    def piece(self, text: str) -> bytes: ...

    def ending(self, reason: str) -> bytes: ...

    def usage(self, usage: Usage) -> bytes: ...

    def whole(self, text: str, reason: str, usage: Usage) -> bytes: ...


def usage_body(usage: Usage) -> dict[str, object]:
    """Return OpenAI's `usage` of a generation."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


class ChatAnswer:
    """`chat.completion` and its chunks. `with_usage`: every chunk names usage, null but in the last."""

    def __init__(self, answer_id: str, model: str, created_unix_s: int, *, with_usage: bool) -> None:
        self._facts = {"id": f"chatcmpl-{answer_id}", "created": created_unix_s, "model": model}
        head = _encode({**self._facts, "object": "chat.completion.chunk", "system_fingerprint": None})
        self._head = b"data: " + head[:-1]
        self._tail = b',"usage":null}\n\n' if with_usage else b"}\n\n"

    def opening(self) -> bytes:
        return self._chunk(b'{"role":"assistant","content":"","refusal":null}', b"null")

    def piece(self, text: str) -> bytes:
        return self._chunk(b'{"content":' + _encode(text) + b"}", b"null")

    def ending(self, reason: str) -> bytes:
        return self._chunk(b"{}", _encode(reason))

    def usage(self, usage: Usage) -> bytes:
        return self._head + b',"choices":[],"usage":' + _encode(usage_body(usage)) + b"}\n\n"

    def whole(self, text: str, reason: str, usage: Usage) -> bytes:
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
        facts = {**self._facts, "object": "chat.completion", "choices": [choice], "usage": usage_body(usage)}
        return _encode({**facts, "system_fingerprint": None})

    def _chunk(self, delta: bytes, reason: bytes) -> bytes:
        choice = b',"choices":[{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b}]' % (delta, reason)
        return self._head + choice + self._tail


class CompletionAnswer:
    """`text_completion`; its chunks are of the same kind. `with_usage`: as in ChatAnswer."""

    def __init__(self, answer_id: str, model: str, created_unix_s: int, *, with_usage: bool) -> None:
        self._facts = {"id": f"cmpl-{answer_id}", "created": created_unix_s, "model": model}
        head = _encode({**self._facts, "object": "text_completion", "system_fingerprint": None})
        self._head = b"data: " + head[:-1]
        self._tail = b',"usage":null}\n\n' if with_usage else b"}\n\n"

    def opening(self) -> bytes:
        return b""

    def piece(self, text: str) -> bytes:
        return self._chunk(_encode(text), b"null")

    def ending(self, reason: str) -> bytes:
        return self._chunk(b'""', _encode(reason))

    def usage(self, usage: Usage) -> bytes:
        return self._head + b',"choices":[],"usage":' + _encode(usage_body(usage)) + b"}\n\n"

    def whole(self, text: str, reason: str, usage: Usage) -> bytes:
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}
        facts = {**self._facts, "object": "text_completion", "choices": [choice], "usage": usage_body(usage)}
        return _encode({**facts, "system_fingerprint": None})

    def _chunk(self, text: bytes, reason: bytes) -> bytes:
        choice = b',"choices":[{"index":0,"text":%b,"logprobs":null,"finish_reason":%b}]' % (text, reason)
        return self._head + choice + self._tail


@dataclass(frozen=True, slots=True)
class _Vectors:
    """`data`: little-endian float32 [num_texts, dim], row-major."""

    data: memoryview
    dim: int

    def rows(self) -> list[memoryview]:
        step = 4 * self.dim
        return [self.data[start : start + step] for start in range(0, len(self.data), step)]


def embeddings_body(model: str, parts: Sequence[Embedded], *, as_base64: bool) -> bytes:
    """Return OpenAI's list of embeddings; `parts` are in the order of the inputs."""
    rows = [row for part in parts for row in _Vectors(memoryview(part.vectors), part.dim).rows()]
    data = [
        {"object": "embedding", "index": index, "embedding": b64encode(row).decode() if as_base64 else _floats(row)}
        for index, row in enumerate(rows)
    ]
    num_tokens = sum(part.usage.prompt_tokens for part in parts)
    usage = {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
    return _encode({"object": "list", "data": data, "model": model, "usage": usage})


def _floats(row: memoryview) -> list[float]:
    import numpy as np

    numbers: list[float] = np.frombuffer(row, dtype="<f4").tolist()
    return numbers


def flow_body(flow: ChatModel, *, is_simulated: bool) -> dict[str, object]:
    """Return OpenAI's `model` for a flow that answers as one; `is_simulated`: a model that it asks is."""
    return {
        "id": flow.name,
        "object": "model",
        "created": int(flow.submitted_unix_s),
        "owned_by": "flow",
        "kinds": [str(Kind.CHAT)],
        "context_tokens": None,
        "dim": None,
        "simulated": is_simulated,
        "flow": flow.flow,
        "job": flow.job_id,
        "ready": flow.is_ready,
    }


def model_body(card: ModelCard, created_unix_s: int, *, is_simulated: bool) -> dict[str, object]:
    """Return OpenAI's `model`, with what callers must know: kinds, context, length of its vectors; of an adapter also
    the model that it changes, as `parent` and `root`."""
    return {
        "id": card.name,
        "object": "model",
        "created": created_unix_s,
        "owned_by": "sage",
        "kinds": [str(kind) for kind in card.kinds],
        "context_tokens": card.context_tokens,
        "dim": card.dim,
        "simulated": is_simulated,
        "root": card.parent or card.name,
        "parent": card.parent,
    }
