"""What a model step can be told beside its input and output, as users write it. Knows no model."""

from collections.abc import Callable, Sequence
from typing import Generic, Literal, TypedDict, TypeVar

from sage.base.inference import ServiceClass
from sage.flow.where import refusal

T = TypeVar("T")

Priority = Literal["interactive", "standard", "batch"] | ServiceClass
Stop = str | Sequence[str]


class GenerateOptions(TypedDict, Generic[T], total=False):
    """The keywords of `generate` that do not change the type of its result."""

    system: str | Callable[[T], str] | None
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


class EmbedOptions(TypedDict, total=False):
    """The keywords of `embed` that do not change the type of its result."""

    priority: Priority | None
    deadline_s: float | None
    tenant: str
    max_in_flight: int


def service_class(priority: str) -> ServiceClass:
    """Return the class of this name; raises FlowInvalid."""
    try:
        return ServiceClass(priority)
    except ValueError as error:
        known = ", ".join(f'"{known}"' for known in ServiceClass)
        raise refusal(f"priority={priority!r} is unknown", f"Known are {known}.", param="priority") from error


def stop_texts(stop: Stop) -> tuple[str, ...]:
    """Return one stop text, or several, as a tuple."""
    return (stop,) if isinstance(stop, str) else tuple(stop)
