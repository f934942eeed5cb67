"""What is asked of a model's tokenizer, and its answers. Knows no engine and no HTTP."""

import msgspec

from sage.base.ids import RequestId
from sage.base.inference import ChatMessage, Failed

MAX_TOKENIZED_CHARS = 1024 * 1024  # of a question in all: the longest contexts there are, several times
MAX_DETOKENIZED = 256 * 1024  # tokens of a question

MAX_OPEN_QUESTIONS = 64  # at once, of one engine; most are a matter of milliseconds


class TokenizeText(msgspec.Struct, frozen=True, tag="tokenize_text", forbid_unknown_fields=True):
    """Ask for the tokens of a raw prompt, or of a text to embed. `with_strings`: for what each stands, too."""

    id: RequestId
    model: str
    text: str
    add_special_tokens: bool = True
    with_strings: bool = False
    tenant: str = "default"


class TokenizeChat(msgspec.Struct, frozen=True, tag="tokenize_chat", forbid_unknown_fields=True):
    """Ask for the tokens of a conversation, put into the model's own chat template.

    `add_generation_prompt`: with what begins the answer, as a ChatRequest has it. `add_special_tokens`: those that the
    tokenizer puts around a text, beside those of the template.
    """

    id: RequestId
    model: str
    messages: tuple[ChatMessage, ...]
    add_generation_prompt: bool = True
    add_special_tokens: bool = False
    with_strings: bool = False
    tenant: str = "default"


class Detokenize(msgspec.Struct, frozen=True, tag="detokenize", forbid_unknown_fields=True):
    """Ask for the text of tokens, special ones included."""

    id: RequestId
    model: str
    tokens: tuple[int, ...]
    tenant: str = "default"


TokenizerQuestion = TokenizeText | TokenizeChat | Detokenize
"""Each ends in one TokenizerAnswer. It goes past the queue: no model runs for it."""


class Tokenized(msgspec.Struct, frozen=True, tag="tokenized", forbid_unknown_fields=True):
    """`strings`: what each token stands for, where that was asked. `context_tokens`: of the model."""

    request_id: RequestId
    tokens: tuple[int, ...]
    context_tokens: int
    strings: tuple[str, ...] | None = None


class Detokenized(msgspec.Struct, frozen=True, tag="detokenized", forbid_unknown_fields=True):
    request_id: RequestId
    text: str


TokenizerAnswer = Tokenized | Detokenized | Failed
