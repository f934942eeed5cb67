"""What the options of a question may be, in one table for types and bounds. Knows no request.

Types say so already; not everybody has them checked, and what is of a wrong type would break engines that all share.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from sage.base.errors import InvalidRequest
from sage.base.inference import ServiceClass

MAX_RETRIES = 2
"""How often the same is asked again, if nobody says otherwise."""

MAX_DEADLINE_S = 365 * 86_400.0

_Text = Annotated[str, Meta(min_length=1)]


class AskTerms(msgspec.Struct, frozen=True):
    """`sage.flow.models.AskOptions`, checked."""

    priority: ServiceClass | None = None
    deadline_s: Annotated[float, Meta(gt=0.0, le=MAX_DEADLINE_S)] | None = None
    tenant: _Text = "default"
    retries: Annotated[int, Meta(ge=0)] = MAX_RETRIES


class ChatTerms(AskTerms, frozen=True):
    """`sage.flow.models.ChatOptions`, checked."""

    max_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    temperature: Annotated[float, Meta(ge=0.0)] = 0.0
    top_p: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0
    seed: int | None = None
    stop: _Text | tuple[_Text, ...] = ()


class PromptTerms(ChatTerms, frozen=True):
    """`sage.flow.models.PromptOptions`, checked."""

    system: str | None = None
    raw: bool = False


T = TypeVar("T", bound=AskTerms)


def checked_terms(options: Mapping[str, object], wanted: type[T]) -> T:
    """Return the options as `wanted` has them; raises InvalidRequest that names the one at fault."""
    types = _types(wanted)
    return wanted(**{name: _checked(name, value, types) for name, value in options.items()})


def checked_flag(value: object, param: str) -> bool:
    """Return what is True or False; raises InvalidRequest that names `param`: "no" would count as yes."""
    if not isinstance(value, bool):
        raise InvalidRequest(f"{param}={value!r:.80} is refused: it is True or False", param=param)
    return value


def checked_count(value: object, param: str) -> int:
    """Return a whole number of at least 1; raises InvalidRequest that names `param`."""
    try:
        number: int = msgspec.convert(value, Annotated[int, Meta(ge=1)])
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{param}={value!r:.80} is refused: {error}", param=param) from error
    return number


def checked_text(value: object, param: str) -> str:
    """Return a text that is not empty and can be sent; raises InvalidRequest that names `param`."""
    if not isinstance(value, str):
        raise InvalidRequest(f"{param} is a {type(value).__name__}, and is to be text", param=param)
    if not value:
        raise InvalidRequest(f"{param} is empty", param=param)
    return sendable(value, param)


def sendable(text: str, param: str) -> str:
    """Return `text` as a plain `str` (NumPy's is none) that has an encoding; raises InvalidRequest naming `param`."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        what = f"{param} is no Unicode text: {error.reason}, at character {error.start}"
        raise InvalidRequest(what, 'Where it was read, say errors="replace".', param=param) from error
    return str.__str__(text)


def _checked(name: str, value: object, types: Mapping[str, Any]) -> Any:
    if name not in types:
        raise InvalidRequest(f"there is no option {name!r} here", f"Known are: {', '.join(types)}.", param=name)
    try:
        checked = msgspec.convert(value, types[name])
    except msgspec.ValidationError as error:
        do = f"Known are: {', '.join(ServiceClass)}." if name == "priority" else ""
        raise InvalidRequest(f"{name}={value!r:.200} is refused: {error}", do, param=name) from error
    for text in checked if isinstance(checked, tuple) else (checked,):
        if isinstance(text, str):
            sendable(text, name)
    return checked


@cache
def _types(wanted: type[AskTerms]) -> Mapping[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(wanted)}
