"""What a model step can be told beside its input and output, as users write it. Knows no model."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Literal, Required, TypedDict, TypeVar

from sage.base.inference import ServiceClass
from sage.flow.call_cache import CallCache
from sage.flow.where import refusal

T = TypeVar("T")

BACKOFF_S = 0.1
"""How long a call waits before its second try, if nobody says otherwise."""

Priority = Literal["interactive", "standard", "batch"] | ServiceClass
Stop = str | Sequence[str]

Text = str | Callable[[T], str]
"""A text of a record: a template of field names (in `embed` also one field's name), or a function of the record."""

Value = str | Callable[[T], Any]
"""A part of a record: a field's name, or a function of the record."""


Cache = CallCache | str | os.PathLike[str] | None
"""Where answers are kept beyond the run: a folder, or more about it."""


class CallOptions(TypedDict, total=False):
    """What holds for the calls of any step that waits."""

    timeout_s: float | None
    retries: int
    backoff_s: float
    ordered: bool
    cache: Cache


class GenerateOptions(CallOptions, Generic[T], total=False):
    """The keywords of `generate` that do not change the type of its result."""

    model: Required[str]
    prompt: Required[Text[T]]
    system: Text[T] | None
    raw: bool
    max_tokens: int | None
    temperature: float
    seed: int | None
    stop: Stop
    priority: Priority
    deadline_s: float | None
    tenant: str
    on_token: Callable[[T, str], None] | None
    max_in_flight: int
    dedup: bool | None


class EmbedOptions(CallOptions, Generic[T], total=False):
    """The keywords of `embed` that do not change the type of its result."""

    model: Required[str]
    text: Text[T] | None
    priority: Priority | None
    deadline_s: float | None
    tenant: str
    max_in_flight: int
    dedup: bool | None


class RerankOptions(CallOptions, Generic[T], total=False):
    """The keywords of `rerank` that do not change the type of its result."""

    model: Required[str]
    query: Text[T] | None
    passages: Value[T]
    k: int | None
    priority: Priority
    deadline_s: float | None
    tenant: str
    max_in_flight: int
    dedup: bool | None


def service_class(priority: str) -> ServiceClass:
    """Return the class of this name; raises FlowInvalid."""
    try:
        return ServiceClass(priority)
    except ValueError as error:
        known = ", ".join(f'"{known}"' for known in ServiceClass)
        raise refusal(f"priority={priority!r} is unknown", f"Known are {known}.", param="priority") from error


def stop_texts(stop: Stop) -> tuple[str, ...]:
    """Return one stop text, or several, as a tuple; raises FlowInvalid for what is none."""
    given: object = (stop,) if isinstance(stop, str) else stop
    found = tuple(given) if isinstance(given, Iterable) else (given,)
    if not all(isinstance(text, str) for text in found):
        raise refusal(f"stop is {stop!r:.80}; it is a text, or several", 'Write stop="END".', param="stop")
    return found
