"""Asks engines about their tokenizers, past the queue: for a shell of the plane. Decides nothing but which engine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cluster.serving.driver import HeldLink
from cluster.serving.engines.tokenizer_port import AskTokenizer
from cluster.serving.question_gate import QuestionGate
from sage.base.clock import Clock
from sage.base.errors import EngineLost, SageError
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Failed, Failure
from sage.base.tokenizing import TokenizerAnswer, TokenizerQuestion

AnswerTo = Callable[[TokenizerAnswer], object]
"""Takes the answer on the plane's own thread: must return at once and must not raise."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """`answer_to`: None once it was withdrawn. It stays in its place: its engine has it still."""

    engine_id: EngineId
    tenant: str
    answer_to: AnswerTo | None


class TokenizerQuestions:
    """Those that engines have not answered yet; each is answered once, or withdrawn. Used on the shell's thread."""

    def __init__(
        self,
        gate: QuestionGate,
        links: Mapping[EngineId, HeldLink],
        send: Callable[[EngineId, AskTokenizer], None],
        clock: Clock,
        closed: Callable[[], SageError | None],
    ) -> None:
        """`links` are the engines there are now; `send` says something to one of them, and finds out if it is lost.

        `closed` says why nothing is taken any more, once nothing is.
        """
        self._gate = gate
        self._links = links
        self._send = send
        self._clock = clock
        self._asked: dict[RequestId, _Asked] = {}
        self._closed = closed

    def __len__(self) -> int:
        return len(self._asked)

    def ask(self, question: TokenizerQuestion, answer_to: AnswerTo) -> None:
        """Have an engine answer; a refusal comes within the call."""
        assert question.id not in self._asked, question.id
        asking = self._asking(question.model)
        engine_id = min(asking, key=lambda engine_id: len(asking[engine_id]), default=None)
        now_s, tenants = self._clock.monotonic_s(), None if engine_id is None else asking[engine_id]
        error = self._closed() or self._gate.refusal(question, now_s, asking=tenants)
        if error is not None:
            answer_to(Failed(question.id, Failure.of(error)))
        else:
            assert engine_id is not None, question
            self._asked[question.id] = _Asked(engine_id, question.tenant, answer_to)
            self._send(engine_id, AskTokenizer(question))

    def withdraw(self, request_id: RequestId) -> None:
        """Give the answer to nobody any more; unknown ids are passed over."""
        if (asked := self._asked.get(request_id)) is not None:
            self._asked[request_id] = _Asked(asked.engine_id, asked.tenant, None)

    def answered(self, engine_id: EngineId, answer: TokenizerAnswer) -> None:
        """Pass an answer on; one that nobody waits for any more, or of another engine, is passed over."""
        asked = self._asked.get(answer.request_id)
        if asked is not None and asked.engine_id == engine_id:
            del self._asked[answer.request_id]
            if asked.answer_to is not None:
                asked.answer_to(answer)

    def lost(self, engine_id: EngineId) -> None:
        """Answer what an engine that is gone was asked."""
        failure = Failure.of(EngineLost(f"engine {engine_id!r} is gone, which was asked for tokens", "Try again."))
        for request_id in [id for id, asked in self._asked.items() if asked.engine_id == engine_id]:
            answer_to = self._asked.pop(request_id).answer_to
            if answer_to is not None:
                answer_to(Failed(request_id, failure))

    def _asking(self, model: str) -> dict[EngineId, list[str]]:
        """Return whose questions each engine has, one a question, that is up and has `model`."""
        asking: dict[EngineId, list[str]] = {
            engine_id: []
            for engine_id, held in self._links.items()
            if held.info is not None and any(card.name == model for card in held.info.models)
        }
        for asked in self._asked.values():
            if asked.engine_id in asking:
                asking[asked.engine_id].append(asked.tenant)
        return asking
