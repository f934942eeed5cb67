"""Requests as OpenAI's API writes them, and its answers read. Pure; knows nothing of HTTP."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from cluster.serving.engines.kv_events import TokenId
from cluster.serving.engines.server_events import MAX_EVENT_BYTES
from sage.base.errors import InvalidRequest, RequestFailed
from sage.base.inference import ChatRequest, EmbedRequest, GenerateRequest, ModelCard, Usage

DONE = b"[DONE]"
_LEAST_ANSWER_TOKENS = 16
_BYTES_OF_TOKEN_ID = 8  # as JSON, of vocabularies below a million
_TEMPLATE_TOKENS = 4_096  # what a template may put around a chat, tools and all
_SPECIAL_TOKENS = 8  # what a tokenizer may put around a prompt


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int | None = 0
    prompt_tokens_details: _Details | None = None

    def usage(self) -> Usage:
        cached = self.prompt_tokens_details.cached_tokens if self.prompt_tokens_details else 0
        return Usage(self.prompt_tokens, self.completion_tokens or 0, cached or 0)


class _Delta(msgspec.Struct):
    content: str | None = None
    tool_calls: list[Any] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    prompt_token_ids: list[TokenId] | None = None
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None
    prompt_token_ids: list[TokenId] | None = None  # of a chat; of a raw prompt its choice has them


class _Vector(msgspec.Struct):
    index: int
    embedding: str | list[float]


class _Vectors(msgspec.Struct):
    data: list[_Vector]
    usage: _Usage | None = None


class ListedModel(msgspec.Struct):
    """A model as `/v1/models` has it; vLLM tells `max_model_len`, SAGE the rest; both of an adapter its `parent`."""

    id: str
    parent: str | None = None
    max_model_len: int | None = None
    context_tokens: int | None = None
    dim: int | None = None
    simulated: bool = False


class _ModelList(msgspec.Struct):
    data: list[ListedModel]


@dataclass(frozen=True, slots=True)
class AnswerPiece:
    """What one event of an answer brought. `usage` counts the whole answer so far; `prompt_ids` are the prompt's
    tokens, once, where they were asked for."""

    text: str = ""
    reason: Literal["stop", "length"] | None = None
    usage: Usage | None = None
    prompt_ids: tuple[int, ...] = ()


_chunks = msgspec.json.Decoder(_Chunk)
_vectors = msgspec.json.Decoder(_Vectors)


def generation_body(
    request: ChatRequest | GenerateRequest, card: ModelCard, *, asks_prompt_ids: bool = False
) -> dict[str, object]:
    """Return the body that asks for `request` as events, with usage, and with the prompt's tokens, as vLLM can."""
    sampling = request.sampling
    body: dict[str, object] = {
        "model": request.model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    }
    if asks_prompt_ids:
        body["return_token_ids"] = True
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if isinstance(request, ChatRequest):
        body["messages"] = [{"role": message.role, "content": message.content} for message in request.messages]
    else:
        body["prompt"] = request.prompt
    max_tokens = sampling.max_tokens
    if max_tokens is None and isinstance(request, GenerateRequest):
        max_tokens = _room(request.prompt, card)
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    return body


def has_room_for_tokens(request: ChatRequest | GenerateRequest, card: ModelCard) -> bool:
    """Say whether the tokens of the prompt fit into an event of the answer: of a token there is at least a byte."""
    most = MAX_EVENT_BYTES // _BYTES_OF_TOKEN_ID
    if card.context_tokens <= most:
        return True
    texts = [m.content for m in request.messages] if isinstance(request, ChatRequest) else [request.prompt]
    return sum(len(text.encode()) for text in texts) + _TEMPLATE_TOKENS <= most


def _room(prompt: str, card: ModelCard) -> int:
    """Return how many tokens surely fit after `prompt`: a token is at least a byte. Unasked, servers stop after 16."""
    return max(_LEAST_ANSWER_TOKENS, card.context_tokens - len(prompt.encode()) - _SPECIAL_TOKENS)


def embedding_body(request: EmbedRequest) -> dict[str, object]:
    texts = [text or " " for text in request.texts]  # servers refuse the empty text; here it has a vector
    return {"model": request.model, "input": texts, "encoding_format": "base64"}


def piece_of(event: bytes, where: str) -> AnswerPiece:
    """Return what an event of an answer says; raises RequestFailed where it is none."""
    try:
        chunk = _chunks.decode(event)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # a ValidationError is a DecodeError
        raise RequestFailed(f"{where} sent what is no chunk of an answer: {error}") from error
    usage = chunk.usage.usage() if chunk.usage is not None else None
    if not chunk.choices:
        return AnswerPiece(usage=usage)
    choice = chunk.choices[0]
    if len(chunk.choices) > 1 or choice.index != 0 or (choice.delta is not None and choice.delta.tool_calls):
        raise RequestFailed(f"{where} sent more than the one text that was asked for")
    text = choice.text if choice.delta is None else choice.delta.content
    prompt_ids = tuple(chunk.prompt_token_ids or choice.prompt_token_ids or ())
    return AnswerPiece(text or "", _reason(choice.finish_reason, where), usage, prompt_ids)


def _reason(word: str | None, where: str) -> Literal["stop", "length"] | None:
    match word:
        case None | "":
            return None
        case "stop" | "eos" | "eos_token" | "stop_sequence":
            return "stop"
        case "length" | "max_tokens":
            return "length"
        case _:
            raise RequestFailed(f"{where} ended its answer with {word!r}")


def vectors_of(body: bytes, num_texts: int, dim: int | None, where: str) -> tuple[NDArray[np.float32], Usage]:
    """Return float32 [num_texts, dim], rows of length 1 in the order of the texts.

    Raises: RequestFailed where these are not as many vectors as texts, of one length `dim` (None: any), all finite.
    """
    try:
        answer = _vectors.decode(body)
        rows = {vector.index: _row(vector.embedding) for vector in answer.data}
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, ValueError) as error:
        raise RequestFailed(f"{where} sent what are no embeddings: {error}") from error
    if len(answer.data) != num_texts or sorted(rows) != list(range(num_texts)):
        raise RequestFailed(f"{where} sent {len(answer.data)} embeddings for {num_texts} texts")
    lengths = {len(row) for row in rows.values()}
    if len(lengths) != 1 or 0 in lengths or (dim is not None and lengths != {dim}):
        raise RequestFailed(f"{where} sent vectors of {sorted(lengths)} numbers, not of {dim}")
    matrix = np.stack([rows[number] for number in range(num_texts)]).astype(np.float32)
    if not np.isfinite(matrix).all():
        raise RequestFailed(f"{where} sent vectors with numbers that are not finite")
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    usage = answer.usage.usage() if answer.usage is not None else Usage()
    return (matrix / np.where(norms > 0, norms, 1)).astype(np.float32, copy=False), usage


def _row(embedding: str | list[float]) -> NDArray[np.float32]:
    if isinstance(embedding, list):
        return np.asarray(embedding, np.float32)
    return np.frombuffer(base64.b64decode(embedding, validate=True), "<f4")


def listed_models(body: bytes, where: str) -> list[ListedModel]:
    """Return what the server says of its models; raises RequestFailed where that is no list."""
    try:
        return msgspec.json.decode(body, type=_ModelList).data
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestFailed(f"{where} sent what is no list of models: {error}") from error


def listed_model(listed: Sequence[ListedModel], model: str, where: str) -> ListedModel:
    """Return what the server says of `model`; raises InvalidRequest where it does not list it."""
    for found in listed:
        if found.id == model:
            return found
    names = ", ".join(found.id for found in listed) or "none"
    raise InvalidRequest(f"{where} serves no model {model!r}", f"It serves: {names}.", param="model")
