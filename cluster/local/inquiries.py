"""From what users write to requests, and from replies to what they get. Knows neither threads nor engines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import msgspec

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
from sage.flow.model_options import Stop
from sage.flow.models import AskOptions, ChatOptions, Conversation, Message, PromptOptions

MAX_RETRIES = 2
"""How often the same is asked again, if nobody says otherwise."""

UNASKED = RequestId("")
"""Of a request that was not asked yet: it gets an id for each attempt."""

_ASK = ("priority", "deadline_s", "tenant", "retries")
_CHAT = (*_ASK, "max_tokens", "temperature", "top_p", "seed", "stop")


@dataclass(frozen=True, slots=True)
class Inquiry:
    """Requests that are asked together, and the terms on which."""

    requests: tuple[Request, ...]
    deadline_s: float | None
    retries: int


def chat_inquiry(messages: Conversation, model: str, options: ChatOptions) -> Inquiry:
    """Return what asks for the next message; raises InvalidRequest that names the option at fault."""
    _check_names(options, _CHAT)
    if isinstance(messages, str):
        said: tuple[ChatMessage, ...] = (ChatMessage("user", messages),)
    else:
        said = tuple(_message(message, position) for position, message in enumerate(messages))
    if not said:
        raise InvalidRequest("there is no message to answer", param="messages")
    service_class, tenant = _whose(options, ServiceClass.INTERACTIVE)
    return _inquiry((ChatRequest(UNASKED, _name(model), said, _sampling(options), service_class, tenant),), options)


def prompt_inquiry(prompt: str, model: str, options: PromptOptions) -> Inquiry:
    """Return what asks for an answer to a prompt, or with `raw` to go on with it; raises InvalidRequest."""
    _check_names(options, (*_CHAT, "system", "raw"))
    system, is_raw = options.get("system"), options.get("raw", False)
    _check_text(prompt, "prompt")
    if not is_raw:
        told = () if system is None else (ChatMessage("system", system),)
        chat = {name: value for name, value in options.items() if name not in ("system", "raw")}
        return chat_inquiry((*told, ChatMessage("user", prompt)), model, cast(ChatOptions, chat))
    if system is not None:
        raise InvalidRequest("a raw prompt has no system message", "Leave out system=, or raw=True.", param="system")
    service_class, tenant = _whose(options, ServiceClass.INTERACTIVE)
    request = GenerateRequest(UNASKED, _name(model), prompt, _sampling(options), service_class, tenant)
    return _inquiry((request,), options)


def embed_inquiry(texts: str | Sequence[str], model: str, options: AskOptions) -> Inquiry:
    """Return what asks for a vector a text; a long list becomes several requests. Raises InvalidRequest."""
    _check_names(options, _ASK)
    given = (texts,) if isinstance(texts, str) else tuple(texts)
    for position, text in enumerate(given):
        _check_text(text, f"texts[{position}]")
    if not given:
        raise InvalidRequest("there is no text to embed", param="texts")
    service_class, tenant = _whose(options, ServiceClass.INTERACTIVE if len(given) == 1 else ServiceClass.STANDARD)
    name = _name(model)
    parts = tuple(given[start : start + MAX_EMBED_TEXTS] for start in range(0, len(given), MAX_EMBED_TEXTS))
    return _inquiry(tuple(EmbedRequest(UNASKED, name, part, service_class, tenant) for part in parts), options)


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


def _inquiry(requests: tuple[Request, ...], options: AskOptions) -> Inquiry:
    deadline_s, retries = options.get("deadline_s"), options.get("retries", MAX_RETRIES)
    if deadline_s is not None and not deadline_s > 0:
        raise InvalidRequest(f"deadline_s={deadline_s!r} is not above 0", param="deadline_s")
    if retries < 0:
        raise InvalidRequest(f"retries={retries!r} is no number of new tries", param="retries")
    return Inquiry(requests, deadline_s, retries)


def _check_names(options: AskOptions, known: Sequence[str]) -> None:
    for name in options:
        if name not in known:
            raise InvalidRequest(f"there is no option {name!r} here", f"Known are: {', '.join(known)}.", param=name)


def _name(model: str) -> str:
    _check_text(model, "model")
    return model


def _check_text(value: object, param: str) -> None:
    """Types say so already; not everybody has them checked."""
    if not isinstance(value, str):
        raise InvalidRequest(f"{param} is a {type(value).__name__}, and is to be text", param=param)
    if not value:
        raise InvalidRequest(f"{param} is empty", param=param)


def _whose(options: AskOptions, default: ServiceClass) -> tuple[ServiceClass, str]:
    priority, tenant = options.get("priority", default), options.get("tenant", "default")
    if not tenant:
        raise InvalidRequest("tenant is empty", param="tenant")
    try:
        return ServiceClass(priority), tenant
    except ValueError:
        known = ", ".join(ServiceClass)
        raise InvalidRequest(f"priority={priority!r} is unknown", f"Known are: {known}.", param="priority") from None


def _message(message: ChatMessage | Message, position: int) -> ChatMessage:
    if isinstance(message, ChatMessage):
        return message
    param = f"messages[{position}]"
    try:
        return msgspec.convert(message, ChatMessage)
    except msgspec.ValidationError as error:
        do = 'Write {"role": "user", "content": "..."}; roles are system, user and assistant.'
        raise InvalidRequest(f"{param} is no message: {error}", do, param=param) from error


def _sampling(options: ChatOptions) -> Sampling:
    max_tokens, temperature = options.get("max_tokens"), options.get("temperature", 0.0)
    top_p, seed, stop = options.get("top_p", 1.0), options.get("seed"), _stop(options.get("stop", ()))
    if max_tokens is not None and max_tokens < 1:
        raise InvalidRequest(f"max_tokens={max_tokens!r} is below 1", param="max_tokens")
    if not temperature >= 0.0:
        raise InvalidRequest(f"temperature={temperature!r} is below 0", param="temperature")
    if not 0.0 < top_p <= 1.0:
        raise InvalidRequest(f"top_p={top_p!r} is not above 0 and at most 1", param="top_p")
    return Sampling(max_tokens, temperature, top_p, None if seed is None else seed % 2**63, stop)


def _stop(stop: Stop) -> tuple[str, ...]:
    texts = (stop,) if isinstance(stop, str) else tuple(stop)
    if not all(texts):
        raise InvalidRequest("a text to stop at is empty", param="stop")
    return texts
