"""How many of a trace's requests are of which class, and how many texts come beside them, from what is typed.

Knows no trace.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from sage.base.inference import ServiceClass

Mix = Mapping[ServiceClass, float]
"""Shares of the requests, 1 in all, each above 0."""

IN_THREE: Mix = {ServiceClass.INTERACTIVE: 0.5, ServiceClass.STANDARD: 0.3, ServiceClass.BATCH: 0.2}
"""What `--mixed-classes` means."""

_NAMES = ", ".join(each.value for each in ServiceClass)
_TEXTS_EXAMPLE = "standard=40"
MAX_TEXTS_PER_S = 10_000.0
"""More are not embedded by any device that is simulated."""
_EXAMPLE = "interactive=0.2,standard=0.3,batch=0.5"


def mix_from_text(text: str) -> Mix:
    """Return what `text` says of each class.

    Raises ValueError with what is wrong with it and how it would be right.

    >>> mix_from_text("interactive=0.2, batch=0.8") == {ServiceClass.INTERACTIVE: 0.2, ServiceClass.BATCH: 0.8}
    True
    """
    mix: dict[ServiceClass, float] = {}
    for part in text.split(","):
        name, _, share = (word.strip() for word in part.partition("="))
        service_class = _class_named(name, part, _EXAMPLE)
        if service_class in mix:
            raise ValueError(f"{name} is said twice in {text!r}")
        mix[service_class] = _share_of(share, part)
    total = math.fsum(mix.values())
    if not math.isclose(total, 1.0, abs_tol=1e-6):
        raise ValueError(f"the shares in {text!r} come to {total:g}; they must come to 1, as in {_EXAMPLE}")
    return mix


@dataclass(frozen=True, slots=True)
class TextsBeside:
    """So many single texts of a class to embed a second; as a text it is what `texts_from_text` reads."""

    service_class: ServiceClass
    per_s: float

    def __str__(self) -> str:
        return f"{self.service_class.value}={self.per_s:g}"


def texts_from_text(text: str) -> TextsBeside:
    """Return what `text` says of texts.

    Raises ValueError with what is wrong with it and how it would be right.

    >>> str(texts_from_text("standard = 40"))
    'standard=40'
    """
    name, _, rate = (word.strip() for word in text.partition("="))
    service_class = _class_named(name, text, _TEXTS_EXAMPLE)
    try:
        per_s = float(rate)
    except ValueError:
        per_s = math.nan
    if not 0.0 < per_s <= MAX_TEXTS_PER_S:
        raise ValueError(
            f"{text!r} has no rate above 0 and up to {MAX_TEXTS_PER_S:,.0f} a second; say it as in {_TEXTS_EXAMPLE}"
        )
    return TextsBeside(service_class, per_s)


def text_of_mix(mix: Mix) -> str:
    """Return what `mix_from_text` reads as `mix`.

    >>> text_of_mix(mix_from_text("batch=0.5,interactive=0.5"))
    'interactive=0.5,batch=0.5'
    """
    return ",".join(f"{each.value}={mix[each]!r}" for each in ServiceClass if each in mix)


def _class_named(name: str, part: str, example: str) -> ServiceClass:
    names = [each.value for each in ServiceClass]
    if name in names:
        return ServiceClass(name)
    near = get_close_matches(name, names, n=1)
    hint = f", did you mean {near[0]}" if near else ""
    raise ValueError(f"{part.strip()!r} names none of {_NAMES}{hint}; say it as in {example}")


def _share_of(share: str, part: str) -> float:
    try:
        number = float(share)
    except ValueError:
        number = math.nan
    if not 0.0 < number <= 1.0:
        raise ValueError(f"{part.strip()!r} has no share above 0 and up to 1; say it as in {_EXAMPLE}")
    return number
