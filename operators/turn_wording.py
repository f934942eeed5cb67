"""How a model step speaks for chat requests: with their class, tenant and time, aloud where it is the reply.

Knows neither prompts nor vectors; another wording does.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from operators.asking import OpenAsk
from operators.model import Wording
from operators.turns import ChatTurns
from sage.base.ids import JobId, RequestId
from sage.base.inference import ChatRequest, Failed, Finished, GenerateRequest, Last, Origin, Request, Sampling, Token
from sage.base.turns import Reason, Turn, TurnRecord
from sage.flow.graph import Step, TurnRole

LEAST_S = 0.001


class TurnWording:
    """One request a record, so that it ends with the caller who caused it."""

    max_texts = 1

    def __init__(self, step: Step, wording: Wording, turns: ChatTurns, job_id: JobId) -> None:
        """`wording` knows the values of the records; the job is the flow whose steps follow each other."""
        self._flow = str(job_id)
        self._name = step.name
        self._speaks = step.turns is TurnRole.SPEAKS
        self._wording = wording
        self._turns = turns

    def is_wanted(self, record: TurnRecord) -> bool:
        return self._turns.is_open(record.turn)

    def texts_of(self, record: TurnRecord) -> tuple[str, ...]:
        return self._wording.texts_of(record.value)

    def unasked(self, texts: tuple[str, ...]) -> tuple[Any] | None:
        return self._wording.unasked(texts)

    def request(self, request_id: RequestId, question: OpenAsk, timeout_s: float | None) -> Request:
        turn = _turn(question)
        if question.asked_by is not None:  # it failed, and is asked again
            self._turns.answered(turn, question.asked_by, None)
        question.asked_by = request_id
        self._turns.asks(turn, request_id)
        left_s = self._turns.left_s(turn)
        request = msgspec.structs.replace(
            self._wording.request(request_id, question, timeout_s),
            service_class=turn.service_class,
            tenant=turn.tenant,
            timeout_s=_sooner(timeout_s, left_s),
            origin=Origin(self._flow, self._name, turn.id, left_s),
        )
        if self._speaks and isinstance(request, ChatRequest | GenerateRequest):
            return msgspec.structs.replace(request, sampling=_bounded(request.sampling, turn))
        return request

    def hear(self, question: OpenAsk, token: Token) -> None:
        self._wording.hear(question, token)
        if self._speaks and token.text:
            question.has_spoken = True
            self._turns.say(question.slots[0].record, self._speaker(token.request_id), token.text)

    def replies(self, question: OpenAsk, last: Last) -> Sequence[Any]:
        usage = None if isinstance(last, Failed) else last.usage
        self._turns.answered(_turn(question), last.request_id, usage)
        replies = self._wording.replies(question, last)
        if not self._speaks or not isinstance(last, Finished):
            return replies
        return [_Said(reply, last.reason, self._speaker(last.request_id)) for reply in replies]

    def put(self, record: TurnRecord, reply: Any) -> TurnRecord:
        if not isinstance(reply, _Said):
            return record.with_value(self._wording.put(record.value, reply))
        value = self._wording.put(record.value, reply.text)
        self._turns.end(record, reply.speaker, reply.reason)
        return record.with_value(value, reply.reason)

    def _speaker(self, request_id: RequestId) -> str:
        """Return who speaks: of two records that came here by different ways each is heard as a whole."""
        return f"{self._name} {request_id}"


class _Said(msgspec.Struct, frozen=True):
    """What a model has said aloud, how it ended, and who spoke."""

    text: str
    reason: Reason
    speaker: str


def _turn(question: OpenAsk) -> Turn:
    record: TurnRecord = question.slots[0].record
    return record.turn


def _sooner(one_s: float | None, other_s: float | None) -> float | None:
    known = [limit_s for limit_s in (one_s, other_s) if limit_s is not None]
    return max(LEAST_S, min(known)) if known else None


def _bounded(sampling: Sampling, turn: Turn) -> Sampling:
    """Return `sampling` within what the caller asked for."""
    limits = [limit for limit in (sampling.max_tokens, turn.max_tokens) if limit is not None]
    stop = (*sampling.stop, *(text for text in turn.stop if text not in sampling.stop))
    return msgspec.structs.replace(sampling, max_tokens=min(limits) if limits else None, stop=stop)
