"""How a model step speaks for records that are due: it says when, and of which record of the source they came.

Knows neither prompts nor vectors; another wording does.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from operators.asking import OpenAsk
from operators.model import Wording
from sage.base.dues import DueRecord, like, value_of
from sage.base.ids import RequestId
from sage.base.inference import Last, Origin, Request, Token


class DueWording:
    """Of records that share a request, the one that is due first counts."""

    def __init__(self, wording: Wording, origin: Origin, unix_s: Callable[[], float]) -> None:
        """`wording` knows the values of the records; `origin` names the step. `unix_s` returns the epoch's time."""
        self.max_texts = wording.max_texts
        self._wording = wording
        self._origin = origin
        self._unix_s = unix_s

    def is_wanted(self, record: Any) -> bool:
        return self._wording.is_wanted(value_of(record))

    def texts_of(self, record: Any) -> tuple[str, ...]:
        return self._wording.texts_of(value_of(record))

    def unasked(self, texts: tuple[str, ...]) -> tuple[Any] | None:
        return self._wording.unasked(texts)

    def request(self, request_id: RequestId, question: OpenAsk, timeout_s: float | None) -> Request:
        request = self._wording.request(request_id, question, timeout_s)
        dues = [slot.record for slot in question.slots if type(slot.record) is DueRecord]
        if not dues:
            return request
        first = min(dues, key=lambda record: record.due_unix_s)
        due_in_s = first.due_unix_s - self._unix_s()
        origin = Origin(self._origin.flow, self._origin.step, first.origin_id, due_in_s)
        return msgspec.structs.replace(request, origin=origin)

    def hear(self, question: OpenAsk, token: Token) -> None:
        self._wording.hear(question, token)

    def replies(self, question: OpenAsk, last: Last) -> Sequence[Any]:
        return self._wording.replies(question, last)

    def put(self, record: Any, reply: Any) -> Any:
        return like(record, self._wording.put(value_of(record), reply))
