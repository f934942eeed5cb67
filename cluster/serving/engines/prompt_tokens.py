"""Prompts as tokens, by the tokenizer of OpenVINO GenAI. Knows no pipeline and no request in work."""

from collections.abc import Sequence
from functools import cached_property

from openvino import Tensor
from openvino_genai import py_openvino_genai as genai

from cluster.serving.engines.checks import overflow
from sage.base.errors import InvalidRequest
from sage.base.inference import ChatMessage, ModelCard
from sage.base.tokenizing import TokenizeChat

_SLICE_CHARS = 32_768  # tokenised in 5 ms; a million characters without a space take 0.4 s


class PromptTokens:
    """Makes prompts of one model; also its OwnTokenizer."""

    def __init__(self, tokenizer: genai.Tokenizer, card: ModelCard) -> None:
        self._tokenizer = tokenizer
        self._card = card

    def of_chat(self, messages: Sequence[ChatMessage], *, add_generation_prompt: bool = True) -> str:
        """Return the conversation in the model's template; raises InvalidRequest where that refuses it."""
        history = [{"role": message.role, "content": message.content} for message in messages]
        try:
            text: str = self._tokenizer.apply_chat_template(history, add_generation_prompt=add_generation_prompt)
        except RuntimeError as error:
            what = f"the chat template of {self._card.name!r} refuses these messages: {reason_of(error)}"
            raise InvalidRequest(what, "Send roles in the order that the model knows.", param="messages") from error
        return text

    def ids(self, text: str, max_tokens: int | None, *, add_special_tokens: bool) -> Tensor:
        """Return int64 [1, num_tokens]; raises ContextOverflow where not even one token, or `max_tokens`, may follow.

        What is far too long is refused after some slices, since the tokenizer cuts at the context.
        """
        card, tokenizer = self._card, self._tokenizer
        sizes = f"{card.context_tokens:,} tokens or more ({len(text):,} characters)"
        if len(text) > _SLICE_CHARS:
            num = 0
            for start in range(0, len(text), _SLICE_CHARS):
                num += tokenizer.encode(text[start : start + _SLICE_CHARS]).input_ids.shape[1]
                if num > card.context_tokens:
                    raise overflow(sizes, max_tokens, card)
        ids = tokenizer.encode(text, add_special_tokens=add_special_tokens).input_ids
        if ids.shape[1] >= card.context_tokens:
            raise overflow(sizes, max_tokens, card)
        return ids

    # As an OwnTokenizer.

    def text_of(self, question: TokenizeChat) -> str:
        return self.of_chat(question.messages, add_generation_prompt=question.add_generation_prompt)

    def tokens_of(self, text: str, *, add_special_tokens: bool) -> list[int]:
        ids: list[int] = self.ids(text, None, add_special_tokens=add_special_tokens).data.reshape(-1).tolist()
        return ids

    def strings_of(self, tokens: Sequence[int]) -> list[str]:
        return [self._strings.get(token, b"").decode("utf-8", "replace") for token in tokens]

    def decoded(self, tokens: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=False)
        return text

    def num_tokens(self) -> int:
        return max(self._strings) + 1

    @cached_property
    def _strings(self) -> dict[int, bytes]:  # 24 ms for 49,152 tokens
        return {token: string for string, token in self._tokenizer.get_vocab().items()}


def reason_of(error: RuntimeError) -> str:
    """Return what the library says, without where in its source it says so."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else "no reason given").partition(" failed at ")[0]
