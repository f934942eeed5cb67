"""The bodies that clients send, typed as OpenAI's API has them. Knows nothing of HTTP, of engines or of answers.

What we can honour is a typed field. What we cannot is a field of type `Raw`, refused by name unless it holds a value
that changes nothing (`HARMLESS`). Everything else is unknown and refused by name too.
"""

import re
from functools import cache
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Raw

from gateway.errors import RequestRefused

B = TypeVar("B", bound=msgspec.Struct)

MAX_STOPS = 16
MAX_EMBED_INPUTS = 2048
NONE = Raw()

Temperature = Annotated[float, Meta(ge=0.0, le=2.0)]
TopP = Annotated[float, Meta(gt=0.0, le=1.0)]
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
MaxTokens = Annotated[int, Meta(ge=1, le=2**31 - 1)]  # more fits no context, and at last no message to an engine
Stop = Annotated[str, Meta(min_length=1, max_length=64)]
Stops = Annotated[list[Stop], Meta(max_length=MAX_STOPS)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]


class TextPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The one kind of message part that is understood."""

    type: Literal["text"]
    text: str


class MessageBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A message of the conversation. `developer` is what newer clients call `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: Raw = NONE
    refusal: Raw = NONE
    annotations: Raw = NONE
    audio: Raw = NONE
    function_call: Raw = NONE
    tool_calls: Raw = NONE


class StreamOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    include_usage: bool | None = None
    include_obfuscation: Raw = NONE


class ChatBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """POST /v1/chat/completions. `user` and `safety_identifier` are the caller's own marks: they change no answer."""

    model: Name
    messages: Annotated[list[MessageBody], Meta(min_length=1)]
    max_tokens: MaxTokens | None = None
    max_completion_tokens: MaxTokens | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    seed: Seed | None = None
    stop: Stop | Stops | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    safety_identifier: str | None = None
    audio: Raw = NONE
    frequency_penalty: Raw = NONE
    function_call: Raw = NONE
    functions: Raw = NONE
    logit_bias: Raw = NONE
    logprobs: Raw = NONE
    metadata: Raw = NONE
    modalities: Raw = NONE
    n: Raw = NONE
    parallel_tool_calls: Raw = NONE
    prediction: Raw = NONE
    presence_penalty: Raw = NONE
    prompt_cache_key: Raw = NONE
    prompt_cache_retention: Raw = NONE
    reasoning_effort: Raw = NONE
    response_format: Raw = NONE
    service_tier: Raw = NONE
    store: Raw = NONE
    tool_choice: Raw = NONE
    tools: Raw = NONE
    top_logprobs: Raw = NONE
    verbosity: Raw = NONE
    web_search_options: Raw = NONE


class CompletionBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """POST /v1/completions. `prompt`: a text, or a list of one."""

    model: Name
    prompt: str | Annotated[list[str | int | list[int]], Meta(min_length=1)]
    max_tokens: MaxTokens | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    seed: Seed | None = None
    stop: Stop | Stops | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    best_of: Raw = NONE
    echo: Raw = NONE
    frequency_penalty: Raw = NONE
    logit_bias: Raw = NONE
    logprobs: Raw = NONE
    n: Raw = NONE
    presence_penalty: Raw = NONE
    suffix: Raw = NONE


class EmbeddingsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """POST /v1/embeddings. `input`: a text or a list of texts; tokens are refused by name."""

    model: Name
    input: str | Annotated[list[str | int | list[int]], Meta(min_length=1, max_length=MAX_EMBED_INPUTS)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    user: str | None = None


# The values at which a field that we cannot honour changes nothing; null never does.
HARMLESS: dict[str, tuple[object, ...]] = {
    "annotations": ([],),
    "best_of": (1,),
    "chat_template_kwargs": ({},),
    "continue_final_message": (False,),
    "echo": (False,),
    "frequency_penalty": (0, 0.0),
    "function_call": ("none",),
    "functions": ([],),
    "include_obfuscation": (False,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "metadata": ({},),
    "mm_processor_kwargs": ({},),
    "modalities": (["text"],),
    "n": (1,),
    "parallel_tool_calls": (True, False),  # without tools there are no calls
    "presence_penalty": (0, 0.0),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "suffix": ("",),
    "tool_calls": ([],),
    "tool_choice": ("none", "auto"),  # without tools both mean none
    "tools": ([],),
}


def decode_body(decoder: msgspec.json.Decoder[B], data: bytes | bytearray) -> B:
    """Return the body; raises RequestRefused that names the field at fault as OpenAI does (`messages[0].role`)."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestRefused(f"The body is not valid JSON: {error}.", reason="invalid_json") from None
    except RecursionError:
        raise RequestRefused("The body is nested too deeply.", reason="invalid_json") from None


def refuse_unhonoured(body: msgspec.Struct, at: str = "") -> None:
    """Raise RequestRefused where a field that we cannot honour holds more than a harmless value."""
    for field in _raw_fields(type(body)):
        raw: Raw = getattr(body, field)
        if raw is NONE:
            continue
        if not _is_harmless(field, msgspec.json.decode(raw)):
            param = f"{at}{field}"
            what = f"'{param}' is not supported by this server."
            raise RequestRefused(what, param=param, reason="unsupported_parameter")


def _is_harmless(field: str, value: object) -> bool:
    fine = HARMLESS.get(field, ())
    return value is None or any(type(value) is type(one) and value == one for one in fine)  # True is no 1 here


@cache
def _raw_fields(body: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(field.name for field in msgspec.structs.fields(body) if field.type is Raw)


_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>[^`]*)`")
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]*)`")
_AT = re.compile(r" - at `(?P<path>.*)`$", re.DOTALL)


def _refusal(text: str) -> RequestRefused:
    """Say in OpenAI's words what msgspec found."""
    found = _AT.search(text)
    path = found["path"].removeprefix("$").removeprefix(".") if found else ""
    what = text[: found.start()] if found else text
    for pattern, words, reason in (
        (_UNKNOWN, "Unknown parameter", "unknown_parameter"),
        (_MISSING, "Missing required parameter", "missing_required_parameter"),
    ):
        named = pattern.match(what)
        if named:
            param = f"{path}.{named['field']}" if path else named["field"]
            return RequestRefused(f"{words}: '{param}'.", param=param, reason=reason)
    if not path:
        return RequestRefused(f"The body is not what this route takes: {what}.", reason="invalid_type")
    reason = "invalid_type" if re.search(r", got `\w+`$", what) else "invalid_value"
    return RequestRefused(f"Invalid '{path}': {what}.", param=path, reason=reason)
