"""How a generate step speaks: one request a record, the answer as text. Knows nothing of order, retries or engines."""

from collections.abc import Sequence
from typing import Any

from operators.asking import OpenAsk
from operators.fields import setter, template_getter
from sage.base.errors import InternalError
from sage.base.ids import RequestId
from sage.base.inference import (
    ChatMessage,
    ChatRequest,
    Finished,
    GenerateRequest,
    Last,
    Origin,
    Request,
    Sampling,
    Token,
)
from sage.flow.spec import Generate


class Generation:
    """Texts of a record: the system message, if the step has one, and the prompt."""

    max_texts = 1

    def __init__(self, spec: Generate, origin: Origin | None = None) -> None:
        """`origin`: the step that asks."""
        self._spec = spec
        self._origin = origin
        self.put = setter(spec.into)
        fields = [spec.prompt] if spec.system is None else [spec.system, spec.prompt]
        self._renders = [template_getter(field) for field in fields]
        self._sampling = Sampling(
            max_tokens=spec.max_tokens, temperature=spec.temperature, seed=spec.seed, stop=spec.stop
        )

    def is_wanted(self, record: Any) -> bool:
        return True

    def texts_of(self, record: Any) -> tuple[str, ...]:
        return tuple(render(record) for render in self._renders)

    def unasked(self, texts: tuple[str, ...]) -> tuple[Any] | None:
        return None

    def request(self, request_id: RequestId, question: OpenAsk, timeout_s: float | None) -> Request:
        spec, [texts] = self._spec, question.texts
        if spec.raw:
            return GenerateRequest(
                request_id, spec.model, texts[-1], self._sampling, spec.priority, spec.tenant, timeout_s, self._origin
            )
        user = ChatMessage("user", texts[-1])
        messages = (user,) if len(texts) == 1 else (ChatMessage("system", texts[0]), user)
        return ChatRequest(
            request_id, spec.model, messages, self._sampling, spec.priority, spec.tenant, timeout_s, self._origin
        )

    def hear(self, question: OpenAsk, token: Token) -> None:
        question.pieces.append(token.text)
        if self._spec.on_token is not None:
            self._spec.on_token(question.slots[0].record, token.text)

    def replies(self, question: OpenAsk, last: Last) -> Sequence[Any]:
        if not isinstance(last, Finished):
            raise InternalError(f"a {type(last).__name__} came for a request to generate")
        return ["".join(question.pieces)]
