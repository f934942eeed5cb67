"""What is asked of an engine's tokenizer and said by it, on the way to its host too. Knows no engine."""

from typing import Protocol

import msgspec

from sage.base.tokenizing import TokenizerAnswer, TokenizerQuestion


class TokenizerDesk(Protocol):
    """The tokenizers of one engine; driven by the engine's thread, between two steps.

    Each question ends in one answer given by `answers`, in any order. The engine's `wake_fd` becomes readable where an
    answer comes later than with its question.
    """

    def ask(self, question: TokenizerQuestion) -> None:
        """Take a question; what is wrong with it comes as its `Failed`."""
        ...

    def answers(self) -> list[TokenizerAnswer]:
        """Return what was answered since the last call; at most one question is worked on within a call."""
        ...

    def has_questions(self) -> bool:
        """Say whether `answers` has something to work on at once."""
        ...


class AskTokenizer(msgspec.Struct, frozen=True, tag="ask", forbid_unknown_fields=True):
    """To a host: ask the engine's tokenizer; answered by Told."""

    question: TokenizerQuestion


class Told(msgspec.Struct, frozen=True, tag="told", forbid_unknown_fields=True):
    """From a host: what the engine's tokenizer answered."""

    answer: TokenizerAnswer
