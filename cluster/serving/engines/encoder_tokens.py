"""The tokenizer of an encoder, for whoever asks what it makes of a text. Knows no encoder."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from tokenizers import Tokenizer

from sage.base.errors import InvalidRequest
from sage.base.inference import ModelCard
from sage.base.tokenizing import TokenizeChat

MAX_CHARS = 131_072  # tokenised within 0.2 s, in which nothing is embedded (measured 2026-11-24, MiniLM, rough)


class EncoderTokens:
    """An OwnTokenizer of the file that the encoder's is of, with nothing cut; read at the first question."""

    def __init__(self, card: ModelCard, path: Path) -> None:
        self._card = card
        self._path = path

    def text_of(self, question: TokenizeChat) -> str:
        what = f"model {question.model!r} has no chat template"
        raise InvalidRequest(what, "Send a prompt.", param="messages")

    def tokens_of(self, text: str, *, add_special_tokens: bool) -> list[int]:
        if len(text) > MAX_CHARS:
            what = f"the prompt has {len(text):,} characters; {self._card.name!r} takes {MAX_CHARS:,} at a time"
            raise InvalidRequest(what, "Split it.", param="prompt")
        return self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids

    def strings_of(self, tokens: Sequence[int]) -> list[str]:
        return [self._tokenizer.id_to_token(token) or "" for token in tokens]

    def decoded(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(list(tokens), skip_special_tokens=False)

    def num_tokens(self) -> int:
        return self._tokenizer.get_vocab_size()

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        tokenizer = Tokenizer.from_file(str(self._path))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer
