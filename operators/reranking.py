"""How a rerank step speaks: one request a record, a score a passage. Knows nothing of order, retries or engines."""

from collections.abc import Sequence
from typing import Any

from operators.asking import OpenAsk
from operators.fields import getter, setter, text_getter
from sage.base.errors import InternalError, InvalidRequest
from sage.base.ids import RequestId
from sage.base.inference import Embedded, Last, Origin, Request, ScoreRequest, Token
from sage.flow.index import Passage
from sage.flow.spec import Rerank

_DO = "Give Passages, as retrieve does, or texts."


class Reranking:
    """Texts of a record: its query, then each passage. The reply to it is their scores, in that order."""

    max_texts = 1

    def __init__(self, spec: Rerank, origin: Origin | None = None) -> None:
        """`origin`: the step that asks."""
        self._spec = spec
        self._origin = origin
        self._set = setter(spec.into)
        self._query_of = text_getter(spec.query)
        self._passages_of = getter(spec.passages)

    def is_wanted(self, record: Any) -> bool:
        return True

    def texts_of(self, record: Any) -> tuple[str, ...]:
        passages = _passages(self._passages_of(record))
        return (self._query_of(record), *(passage.text for passage in passages))

    def unasked(self, texts: tuple[str, ...]) -> tuple[Sequence[float]] | None:
        return None if len(texts) > 1 else ((),)

    def request(self, request_id: RequestId, question: OpenAsk, timeout_s: float | None) -> Request:
        spec, [(query, *texts)] = self._spec, question.texts
        return ScoreRequest(
            request_id, spec.model, query, tuple(texts), spec.priority, spec.tenant, timeout_s, self._origin
        )

    def hear(self, question: OpenAsk, token: Token) -> None:
        raise InternalError("a token came for a request to score")

    def replies(self, question: OpenAsk, last: Last) -> Sequence[Any]:
        import numpy as np  # loaded by flows that rank, not by others

        if not isinstance(last, Embedded):
            raise InternalError(f"a {type(last).__name__} came for a request to score")
        scores = np.frombuffer(last.vectors, "<f4").tolist()
        if len(scores) != len(question.texts[0]) - 1:
            raise InternalError(f"{len(scores)} scores came for {len(question.texts[0]) - 1} passages")
        return [scores]

    def put(self, record: Any, reply: Sequence[float]) -> Any:
        passages = _passages(self._passages_of(record))
        scored = [Passage(each.text, score, each.source) for each, score in zip(passages, reply, strict=True)]
        scored.sort(key=lambda passage: passage.score, reverse=True)
        return self._set(record, scored[: self._spec.k])


def _passages(given: Any) -> list[Passage]:
    if isinstance(given, str | bytes | bytearray) or not isinstance(given, Sequence):  # a dict's keys are no passages
        raise InvalidRequest(f"the passages are a {type(given).__name__} and no list of them", _DO, param="passages")
    return [_passage(one) for one in given]


def _passage(given: Any) -> Passage:
    if isinstance(given, str):
        return Passage(given, 0.0)
    if isinstance(given, Passage):
        return given
    raise InvalidRequest(f"a passage is a {type(given).__name__}", _DO, param="passages")
