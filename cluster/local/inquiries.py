"""From what users write to requests, and from replies to what they get. Knows neither threads nor engines."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from cluster.local.terms import AskTerms, ChatTerms, PromptTerms, checked_terms, checked_text, sendable
from sage.base.answers import Completion, Embeddings
from sage.base.errors import InternalError, InvalidRequest
from sage.base.ids import RequestId
from sage.base.inference import (
    MAX_EMBED_TEXTS,
    ChatMessage,
    ChatRequest,
    Embedded,
    EmbedRequest,
    Finished,
    GenerateRequest,
    Last,
    Request,
    Sampling,
    ServiceClass,
    Usage,
)
from sage.flow.models import AskOptions, ChatOptions, Conversation, Message, PromptOptions

T = TypeVar("T")

UNASKED = RequestId("")
"""Of a request that was not asked yet: it gets an id for each attempt."""


@dataclass(frozen=True, slots=True)
class Inquiry:
    """Requests that are asked together, and the terms on which."""

    requests: tuple[Request, ...]
    deadline_s: float | None
    retries: int


def chat_inquiry(messages: Conversation, model: str, options: ChatOptions) -> Inquiry:
    """Return what asks for the next message; raises InvalidRequest that names the option at fault."""
    return _chat(messages, model, checked_terms(options, ChatTerms))


def prompt_inquiry(prompt: str, model: str, options: PromptOptions) -> Inquiry:
    """Return what asks for an answer to a prompt, or with `raw` to go on with it; raises InvalidRequest."""
    terms = checked_terms(options, PromptTerms)
    said = checked_text(prompt, "prompt")
    if not terms.raw:
        told = () if terms.system is None else (ChatMessage("system", terms.system),)
        return _chat((*told, ChatMessage("user", said)), model, terms)
    if terms.system is not None:
        raise InvalidRequest("a raw prompt has no system message", "Leave out system=, or raw=True.", param="system")
    service_class = terms.priority or ServiceClass.INTERACTIVE
    name = checked_text(model, "model")
    request = GenerateRequest(UNASKED, name, said, _sampling(terms), service_class, terms.tenant)
    return Inquiry((request,), terms.deadline_s, terms.retries)


def embed_inquiry(texts: str | Sequence[str], model: str, options: AskOptions) -> Inquiry:
    """Return what asks for a vector a text; a long list becomes several requests. Raises InvalidRequest."""
    terms = checked_terms(options, AskTerms)
    given = (texts,) if isinstance(texts, str) else all_of(texts, "texts", "a text, or several")
    plain = tuple(checked_text(text, f"texts[{position}]") for position, text in enumerate(given))
    if not plain:
        raise InvalidRequest("there is no text to embed", param="texts")
    service_class = terms.priority or (ServiceClass.INTERACTIVE if len(plain) == 1 else ServiceClass.STANDARD)
    name = checked_text(model, "model")
    parts = (plain[start : start + MAX_EMBED_TEXTS] for start in range(0, len(plain), MAX_EMBED_TEXTS))
    requests = tuple(EmbedRequest(UNASKED, name, part, service_class, terms.tenant) for part in parts)
    return Inquiry(requests, terms.deadline_s, terms.retries)


def completion_from(text: str, last: Last) -> Completion:
    """Return a whole answer from its text and its end."""
    if not isinstance(last, Finished):
        raise InternalError(f"a {type(last).__name__} came for a request to generate")
    return Completion(text, last.reason, last.usage, last.engine_id, last.served)


def embeddings_from(lasts: Sequence[Last]) -> Embeddings:
    """Return the vectors of all requests, which are in the order of the texts."""
    import numpy as np

    parts = []
    for last in lasts:
        if not isinstance(last, Embedded):
            raise InternalError(f"a {type(last).__name__} came for a request to embed")
        parts.append(last)
    vectors = np.concatenate([np.frombuffer(part.vectors, dtype="<f4").reshape(-1, part.dim) for part in parts])
    usage = Usage(sum(part.usage.prompt_tokens for part in parts), 0, sum(part.usage.cached_tokens for part in parts))
    return Embeddings(vectors, usage, tuple(dict.fromkeys(part.served for part in parts if part.served)))


def _chat(messages: Conversation, model: str, terms: ChatTerms) -> Inquiry:
    if isinstance(messages, str):
        said: tuple[ChatMessage, ...] = (ChatMessage("user", sendable(messages, "messages")),)
    else:
        given = all_of(messages, "messages", "a text, or messages")
        said = tuple(_message(message, position) for position, message in enumerate(given))
    if not said:
        raise InvalidRequest("there is no message to answer", param="messages")
    service_class = terms.priority or ServiceClass.INTERACTIVE
    request = ChatRequest(UNASKED, checked_text(model, "model"), said, _sampling(terms), service_class, terms.tenant)
    return Inquiry((request,), terms.deadline_s, terms.retries)


def all_of(values: Iterable[T], param: str, wanted: str) -> tuple[T, ...]:
    """Return the values of a list that a user gave; raises InvalidRequest, naming `param`, where it is none."""
    given: object = values
    if not isinstance(given, Iterable) or isinstance(given, Mapping | set | frozenset):  # no list, or in no order
        raise InvalidRequest(f"{param} is a {type(values).__name__}, and is to be {wanted}", param=param)
    return tuple(values)


def _message(message: ChatMessage | Message, position: int) -> ChatMessage:
    param = f"messages[{position}]"
    given = msgspec.structs.asdict(message) if isinstance(message, ChatMessage) else message
    try:
        checked = msgspec.convert(given, ChatMessage)
    except msgspec.ValidationError as error:
        do = 'Write {"role": "user", "content": "..."}; roles are system, user and assistant.'
        raise InvalidRequest(f"{param} is no message: {error}", do, param=param) from error
    sendable(checked.content, param)
    return checked


def _sampling(terms: ChatTerms) -> Sampling:
    seed = None if terms.seed is None else terms.seed % 2**63
    stop = (terms.stop,) if isinstance(terms.stop, str) else terms.stop
    return Sampling(terms.max_tokens, terms.temperature, terms.top_p, seed, stop)
