"""How an embed step speaks: many records a request, a vector each. Knows nothing of order, retries or engines."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from operators.asking import OpenAsk
from operators.fields import setter, text_getter
from sage.base.errors import InternalError
from sage.base.ids import RequestId
from sage.base.inference import MAX_EMBED_TEXTS, Embedded, EmbedRequest, Last, Origin, Request, Token
from sage.flow.spec import Embed


class Embedding:
    """The reply to a record is a row of its request's vectors: a view, float32 [dim], read-only."""

    max_texts = MAX_EMBED_TEXTS

    def __init__(self, spec: Embed, origin: Origin) -> None:
        """`origin`: the step that asks."""
        self._spec = spec
        self._origin = origin
        self.put = setter(spec.into)
        self._text_of = text_getter(spec.text)

    def is_wanted(self, record: Any) -> bool:
        return True

    def texts_of(self, record: Any) -> tuple[str, ...]:
        return (self._text_of(record),)

    def unasked(self, texts: tuple[str, ...]) -> tuple[Any] | None:
        return None

    def request(self, request_id: RequestId, question: OpenAsk, timeout_s: float | None) -> Request:
        spec, texts = self._spec, tuple(text for (text,) in question.texts)
        return EmbedRequest(request_id, spec.model, texts, spec.priority, spec.tenant, timeout_s, self._origin)

    def hear(self, question: OpenAsk, token: Token) -> None:
        raise InternalError("a token came for a request to embed")

    def replies(self, question: OpenAsk, last: Last) -> Sequence[Any]:
        if not isinstance(last, Embedded):
            raise InternalError(f"a {type(last).__name__} came for a request to embed")
        if len(last.vectors) != 4 * last.dim * len(question.slots):
            num_bytes = len(last.vectors)
            raise InternalError(f"{num_bytes} bytes are not {len(question.slots)} vectors of {last.dim} numbers")
        return list(np.frombuffer(last.vectors, "<f4").reshape(len(question.slots), last.dim))
