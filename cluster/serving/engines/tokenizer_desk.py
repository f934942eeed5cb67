"""TokenizerDesks: of engines without a tokenizer, and of those with one in their process. Knows no engine."""

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from cluster.serving.engines.checks import check_unicode, failed
from sage.base.errors import InvalidRequest, RequestFailed, SageError, UnknownModel
from sage.base.ids import RequestId
from sage.base.inference import ModelCard
from sage.base.tokenizing import (
    Detokenize,
    Detokenized,
    TokenizeChat,
    Tokenized,
    TokenizerAnswer,
    TokenizerQuestion,
    TokenizeText,
)


class NoTokenizer:
    """The TokenizerDesk of an engine that has none."""

    def __init__(self, why: str) -> None:
        """`why` is told to whoever asks: "a simulated engine has no tokenizer"."""
        self._why = why
        self._refused: list[RequestId] = []

    def ask(self, question: TokenizerQuestion) -> None:
        self._refused.append(question.id)

    def answers(self) -> list[TokenizerAnswer]:
        refused, self._refused = self._refused, []
        error = InvalidRequest(self._why, "Name a model of another engine.", param="model")
        return [failed(request_id, error) for request_id in refused]

    def has_questions(self) -> bool:
        return bool(self._refused)


class OwnTokenizer(Protocol):
    """The tokenizer of one model, in this process."""

    def text_of(self, question: TokenizeChat) -> str:
        """Return the conversation in the model's template; raises InvalidRequest."""
        ...

    def tokens_of(self, text: str, *, add_special_tokens: bool) -> Sequence[int]:
        """Return the tokens of a text; raises SageError where it is too long."""
        ...

    def strings_of(self, tokens: Sequence[int]) -> list[str]:
        """Return for what each token stands."""
        ...

    def decoded(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens that there are."""
        ...

    def num_tokens(self) -> int:
        """Return how many different tokens there are: from 0 on."""
        ...


class OwnDesk:
    """A TokenizerDesk that works on one question at a time, so that the engine has its steps between them.

    A question of the largest size takes 0.33 s where its text is slow to part (rough, two cores): 64 in a row would
    keep the engine from its work, and count as a hang.
    """

    def __init__(self, card: ModelCard, tokenizer: OwnTokenizer) -> None:
        self._card = card
        self._tokenizer = tokenizer
        self._waiting: deque[TokenizerQuestion] = deque()

    def ask(self, question: TokenizerQuestion) -> None:
        self._waiting.append(question)

    def has_questions(self) -> bool:
        return bool(self._waiting)

    def answers(self) -> list[TokenizerAnswer]:
        return [self._answered(self._waiting.popleft())] if self._waiting else []

    def _answered(self, question: TokenizerQuestion) -> TokenizerAnswer:
        try:
            return self._answer(question)
        except SageError as error:
            return failed(question.id, error)
        except Exception as error:  # noqa: BLE001 - the library's own: this question's fault, and the engine goes on
            what = f"the tokenizer of {self._card.name!r} failed: {type(error).__name__}: {error}"
            return failed(question.id, RequestFailed(what))

    def _answer(self, question: TokenizerQuestion) -> TokenizerAnswer:
        if question.model != self._card.name:
            what = f"this engine serves no model {question.model!r}"
            raise UnknownModel(what, f"It serves {self._card.name}.", param="model")
        match question:
            case Detokenize():
                self._check_tokens(question.tokens)
                return Detokenized(question.id, self._tokenizer.decoded(question.tokens))
            case TokenizeText(text=text):
                check_unicode(text, "the prompt", "prompt")
            case TokenizeChat(messages=messages):
                for number, message in enumerate(messages):
                    check_unicode(message.content, f"message {number} ({message.role})", "messages")
                text = self._tokenizer.text_of(question)
        tokens = tuple(self._tokenizer.tokens_of(text, add_special_tokens=question.add_special_tokens))
        strings = tuple(self._tokenizer.strings_of(tokens)) if question.with_strings else None
        return Tokenized(question.id, tokens, self._card.context_tokens, strings)

    def _check_tokens(self, tokens: Sequence[int]) -> None:
        num_tokens = self._tokenizer.num_tokens()
        for place, token in enumerate(tokens):
            if not 0 <= token < num_tokens:
                what = f"there is no token {token} (tokens[{place}]): {self._card.name!r} has {num_tokens:,}, from 0 on"
                raise InvalidRequest(what, "Send tokens of this model.", param="tokens")
