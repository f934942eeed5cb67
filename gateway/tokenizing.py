"""POST /tokenize and /detokenize: what is asked of a model's tokenizer, as vLLM serves them. Knows no socket.

Source of the fields: vLLM's `TokenizeCompletionRequest`, `TokenizeChatRequest`, `DetokenizeRequest`, 0.11.
"""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta, Raw

from cluster.web.body import BodyLimits
from gateway.asks import message_of
from gateway.bridge import AskerGone
from gateway.errors import RequestRefused
from gateway.exchange import Exchange
from gateway.headers import CallHeaders
from gateway.ids import Ids
from gateway.schema import NONE, MessageBody, Name, decode_body, refuse_unhonoured
from sage.base.ids import RequestId
from sage.base.inference import Failed
from sage.base.tokenizing import (
    MAX_DETOKENIZED,
    MAX_TOKENIZED_CHARS,
    Detokenize,
    Detokenized,
    TokenizeChat,
    Tokenized,
    TokenizerAnswer,
    TokenizerQuestion,
    TokenizeText,
)

ANSWER_S = 30.0
"""How long an answer may take where the call says nothing: an iteration of the engine, or a busy server behind it."""

_encode = msgspec.json.Encoder().encode


class Tokenizers(Protocol):
    """Where questions about tokenizers are answered; on the thread of the gateway's loop."""

    async def ask_tokenizer(self, question: TokenizerQuestion, timeout_s: float) -> TokenizerAnswer:
        """Return the answer; raises DeadlineExceeded after `timeout_s`."""
        ...


class TokenizeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """POST /tokenize: of a `prompt`, or of `messages` in the model's chat template.

    `add_special_tokens` is true for a prompt and false for messages, whose template has them.
    """

    model: Name
    prompt: str | None = None
    messages: Annotated[list[MessageBody], Meta(min_length=1)] | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    return_token_strs: bool | None = None
    chat_template: Raw = NONE
    chat_template_kwargs: Raw = NONE
    continue_final_message: Raw = NONE
    mm_processor_kwargs: Raw = NONE
    tools: Raw = NONE


class DetokenizeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """POST /detokenize."""

    model: Name
    tokens: Annotated[list[Annotated[int, Meta(ge=0, lt=2**32)]], Meta(max_length=MAX_DETOKENIZED)]


def question_of(body: TokenizeBody, call: CallHeaders, question_id: RequestId) -> TokenizeText | TokenizeChat:
    """Return what `body` asks; raises RequestRefused."""
    refuse_unhonoured(body)
    with_strings, adds = body.return_token_strs is True, body.add_special_tokens
    if body.prompt is not None and body.messages is None:
        if body.add_generation_prompt is not None:
            raise RequestRefused("'add_generation_prompt' goes with 'messages'.", param="add_generation_prompt")
        _check_chars(len(body.prompt), "prompt")
        return TokenizeText(question_id, body.model, body.prompt, adds is not False, with_strings, call.tenant)
    if body.messages is None or body.prompt is not None:
        what = "Give either 'prompt' or 'messages'."
        raise RequestRefused(what, param="messages" if body.prompt is not None else "prompt")
    messages = tuple(message_of(message, position) for position, message in enumerate(body.messages))
    _check_chars(sum(len(message.content) for message in messages), "messages")
    begins = body.add_generation_prompt is not False
    return TokenizeChat(question_id, body.model, messages, begins, adds is True, with_strings, call.tenant)


def _check_chars(num_chars: int, param: str) -> None:
    if num_chars > MAX_TOKENIZED_CHARS:
        what = f"'{param}' has {num_chars:,} characters; at most {MAX_TOKENIZED_CHARS:,} are taken at once."
        raise RequestRefused(what, param=param)


@dataclass(frozen=True, slots=True)
class TokenizeRoute:
    tokenizers: Tokenizers
    ids: Ids
    limits: BodyLimits
    decoder: msgspec.json.Decoder[TokenizeBody]

    async def __call__(self, exchange: Exchange) -> None:
        body = decode_body(self.decoder, await exchange.body(self.limits))
        answer = await _answered(self.tokenizers, exchange, question_of(body, exchange.call, self.ids.next()))
        assert isinstance(answer, Tokenized), answer
        said = {"count": len(answer.tokens), "max_model_len": answer.context_tokens, "tokens": answer.tokens}
        await exchange.answer(_encode({**said, "token_strs": answer.strings}))


@dataclass(frozen=True, slots=True)
class DetokenizeRoute:
    tokenizers: Tokenizers
    ids: Ids
    limits: BodyLimits
    decoder: msgspec.json.Decoder[DetokenizeBody]

    async def __call__(self, exchange: Exchange) -> None:
        body = decode_body(self.decoder, await exchange.body(self.limits))
        question = Detokenize(self.ids.next(), body.model, tuple(body.tokens), exchange.call.tenant)
        answer = await _answered(self.tokenizers, exchange, question)
        assert isinstance(answer, Detokenized), answer
        await exchange.answer(_encode({"prompt": answer.text}))


async def _answered(tokenizers: Tokenizers, exchange: Exchange, question: TokenizerQuestion) -> TokenizerAnswer:
    """Ask, and wait as long as the call allows; raises what the answer failed with, AskerGone where nobody waits."""
    timeout_s = min(ANSWER_S, exchange.call.timeout_s or ANSWER_S)
    asking = asyncio.ensure_future(tokenizers.ask_tokenizer(question, timeout_s))
    with exchange.watch(lambda: _cancel(asking)):
        await asyncio.wait((asking,))
    if asking.cancelled():
        raise AskerGone
    answer = asking.result()
    if isinstance(answer, Failed):
        raise answer.failure.error()
    return answer


def _cancel(asking: "asyncio.Future[TokenizerAnswer]") -> None:
    asking.cancel()
