"""Questions to tokenizers as vLLM's API writes them, and its answers read. Pure; knows nothing of HTTP.

Source: vLLM's `TokenizeCompletionRequest`, `TokenizeChatRequest` and `DetokenizeRequest`, 0.11.
"""

from typing import Annotated

import msgspec

from sage.base.errors import RequestFailed
from sage.base.tokenizing import (
    Detokenize,
    Detokenized,
    TokenizeChat,
    Tokenized,
    TokenizerAnswer,
    TokenizerQuestion,
    TokenizeText,
)

_Token = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]


class _Tokens(msgspec.Struct):
    tokens: list[_Token]
    token_strs: list[str] | None = None


class _Text(msgspec.Struct):
    prompt: str


_tokens, _text = msgspec.json.Decoder(_Tokens), msgspec.json.Decoder(_Text)


def path_of(question: TokenizerQuestion) -> str:
    """Return where it is asked, from the server's root on."""
    return "/detokenize" if isinstance(question, Detokenize) else "/tokenize"


def body_of(question: TokenizerQuestion) -> dict[str, object]:
    """Return the body that asks it."""
    match question:
        case Detokenize(model=model, tokens=tokens):
            return {"model": model, "tokens": tokens}
        case TokenizeText(model=model, text=text):
            body: dict[str, object] = {"model": model, "prompt": text}
        case TokenizeChat(model=model, messages=messages):
            told = [{"role": message.role, "content": message.content} for message in messages]
            body = {"model": model, "messages": told, "add_generation_prompt": question.add_generation_prompt}
    body["add_special_tokens"] = question.add_special_tokens
    return body | {"return_token_strs": True} if question.with_strings else body


def answer_of(body: bytes, question: TokenizerQuestion, context_tokens: int, where: str) -> TokenizerAnswer:
    """Return what the server at `where` answered; raises RequestFailed where it is no answer to the question."""
    try:
        if isinstance(question, Detokenize):
            return Detokenized(question.id, _text.decode(body).prompt)
        answer = _tokens.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestFailed(f"{where} sent what are no tokens: {error}") from error
    strings = answer.token_strs
    if question.with_strings and (strings is None or len(strings) != len(answer.tokens)):
        raise RequestFailed(f"{where} did not say for what each token stands")
    told = tuple(strings) if question.with_strings and strings is not None else None
    return Tokenized(question.id, tuple(answer.tokens), context_tokens, told)
