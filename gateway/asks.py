"""From bodies to requests: what a client's call asks of the plane. Pure; knows nothing of HTTP."""

from collections.abc import Sequence

from gateway.errors import RequestRefused
from gateway.headers import CallHeaders
from gateway.schema import ChatBody, CompletionBody, EmbeddingsBody, MessageBody, StreamOptions, refuse_unhonoured
from sage.base.ids import RequestId
from sage.base.inference import (
    MAX_EMBED_TEXTS,
    ChatMessage,
    ChatRequest,
    EmbedRequest,
    GenerateRequest,
    Sampling,
    ServiceClass,
)

COMPLETION_MAX_TOKENS = 16  # source: OpenAI's default for /v1/completions


def chat_request(body: ChatBody, call: CallHeaders, request_id: RequestId) -> ChatRequest:
    """Return what `body` asks; raises RequestRefused for what cannot be honoured."""
    refuse_unhonoured(body)
    _check_stream_options(body.stream, body.stream_options)
    limits = (body.max_tokens, body.max_completion_tokens)
    if None not in limits and limits[0] != limits[1]:
        what = "'max_tokens' and 'max_completion_tokens' differ; give one."
        raise RequestRefused(what, param="max_completion_tokens")
    return ChatRequest(
        request_id,
        body.model,
        tuple(message_of(message, position) for position, message in enumerate(body.messages)),
        _sampling(body, limits[1] if limits[0] is None else limits[0]),
        call.service_class or ServiceClass.INTERACTIVE,
        tenant=call.tenant,
        timeout_s=call.timeout_s,
    )


def completion_request(body: CompletionBody, call: CallHeaders, request_id: RequestId) -> GenerateRequest:
    """Return what `body` asks; raises RequestRefused for what cannot be honoured."""
    refuse_unhonoured(body)
    _check_stream_options(body.stream, body.stream_options)
    prompt = body.prompt if isinstance(body.prompt, str) else _only_text(body.prompt)
    return GenerateRequest(
        request_id,
        body.model,
        prompt,
        _sampling(body, COMPLETION_MAX_TOKENS if body.max_tokens is None else body.max_tokens),
        call.service_class or ServiceClass.INTERACTIVE,
        tenant=call.tenant,
        timeout_s=call.timeout_s,
    )


def embed_requests(
    body: EmbeddingsBody, call: CallHeaders, request_ids: Sequence[RequestId]
) -> tuple[EmbedRequest, ...]:
    """Return one request per MAX_EMBED_TEXTS texts, in order; `request_ids` holds an id for each."""
    texts = embed_texts(body)
    service_class = call.service_class or (ServiceClass.INTERACTIVE if len(texts) == 1 else ServiceClass.STANDARD)
    return tuple(
        EmbedRequest(
            request_ids[number],
            body.model,
            texts[start : start + MAX_EMBED_TEXTS],
            service_class,
            tenant=call.tenant,
            timeout_s=call.timeout_s,
            part_of=request_ids[0] if len(request_ids) > 1 else None,
        )
        for number, start in enumerate(range(0, len(texts), MAX_EMBED_TEXTS))
    )


def embed_texts(body: EmbeddingsBody) -> tuple[str, ...]:
    """Return the texts to embed; raises RequestRefused for tokens and empty texts."""
    inputs = [body.input] if isinstance(body.input, str) else body.input
    for position, text in enumerate(inputs):
        param = "input" if isinstance(body.input, str) else f"input[{position}]"
        if not isinstance(text, str):
            what = f"'{param}' is a token or a list of tokens; this server takes text only."
            raise RequestRefused(what, param="input", reason="unsupported_value")
        if not text:
            raise RequestRefused(f"'{param}' is empty; there is nothing to embed.", param="input")
    return tuple(text for text in inputs if isinstance(text, str))


def _sampling(body: ChatBody | CompletionBody, max_tokens: int | None) -> Sampling:
    """OpenAI's defaults: temperature 1, top_p 1. Seeds are signed there; engines take the same bits unsigned."""
    return Sampling(
        max_tokens=max_tokens,
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        seed=None if body.seed is None else body.seed % 2**63,
        stop=() if body.stop is None else (body.stop,) if isinstance(body.stop, str) else tuple(body.stop),
    )


def message_of(message: MessageBody, position: int) -> ChatMessage:
    """Return a message of a body, at `position` there; raises RequestRefused for what cannot be honoured."""
    refuse_unhonoured(message, f"messages[{position}].")
    content = message.content
    text = content if isinstance(content, str) else "".join(part.text for part in content)
    return ChatMessage("system" if message.role == "developer" else message.role, text)


def _only_text(prompts: Sequence[str | int | list[int]]) -> str:
    first = prompts[0]
    if not isinstance(first, str):
        what = "'prompt' holds tokens; this server takes text only."
        raise RequestRefused(what, param="prompt", reason="unsupported_value")
    if len(prompts) > 1:
        what = f"'prompt' holds {len(prompts)} prompts; this server takes one a request."
        raise RequestRefused(what, param="prompt", reason="unsupported_value")
    return first


def _check_stream_options(stream: bool | None, options: StreamOptions | None) -> None:
    if options is None:
        return
    if not stream:
        what = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise RequestRefused(what, param="stream_options")
    refuse_unhonoured(options, "stream_options.")


def wants_usage(options: StreamOptions | None) -> bool:
    """Say whether the stream ends with a chunk of usage."""
    return options is not None and options.include_usage is True


def is_json(content_type: bytes) -> bool:
    """Say whether a body of this type is taken; only JSON is, so that no foreign page's form can reach us."""
    return content_type == b"application/json" or (
        content_type.startswith(b"application/") and content_type[-5:] == b"+json"
    )
