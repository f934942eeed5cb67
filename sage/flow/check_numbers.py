"""Whether numbers that a step is told are numbers, and in range. Knows no step."""

from collections.abc import Callable, Iterator, Mapping
from math import inf
from numbers import Integral, Real
from typing import NamedTuple


class Fault(NamedTuple):
    """What is wrong, what to do about it, and which parameter it is about."""

    what: str
    do: str
    param: str | None = None


def required(**numbers: object) -> Iterator[Fault]:
    """Yield a fault for each that is None: what cannot be left away."""
    for param, number in numbers.items():
        if number is None:
            yield Fault(f"{param} is None; it is a number", "Leave it away, or give one.", param)


def at_least(least: float, **numbers: object) -> Iterator[Fault]:
    """Yield a fault for each of `numbers` that is none, or below `least`; None is not looked at."""
    yield from _each(lambda number: float(number) >= least, f"it is at least {least}", numbers)


def above_zero(**numbers: object) -> Iterator[Fault]:
    yield from _each(lambda number: float(number) > 0.0, "it is more than 0", numbers)


def finite(**numbers: object) -> Iterator[Fault]:
    """Yield a fault for each that is not above 0, or for ever."""
    yield from above_zero(**numbers)
    for param, number in numbers.items():
        if number == inf:
            yield Fault(f"{param} is infinite; it is to be over at some time", "", param)


def whole_numbers(**numbers: object) -> Iterator[Fault]:
    for param, number in numbers.items():
        if number is not None and (isinstance(number, bool) or not isinstance(number, Integral)):
            yield Fault(f"{param} is {_shown(number)}; it is a whole number", "", param)


def counts(**numbers: object) -> Iterator[Fault]:
    """Yield a fault for each that is no whole number, or below 1."""
    yield from whole_numbers(**numbers)
    yield from at_least(1, **numbers)


def yes_or_no(**flags: object) -> Iterator[Fault]:
    """Yield a fault for each that is neither True nor False: "no" would count as yes."""
    for param, flag in flags.items():
        if not isinstance(flag, bool):
            yield Fault(f"{param} is {flag!r:.80} ({type(flag).__name__}); it is True or False", "", param)


def texts(do: str, **given: object) -> Iterator[Fault]:
    """Yield a fault for each that is no text, or an empty one; None is not looked at."""
    for param, text in given.items():
        if text is not None and (not isinstance(text, str) or not text):
            yield Fault(f"{param} is {text!r:.80} ({type(text).__name__}); it is a text", do, param)


def _each(holds: Callable[[Real], bool], rule: str, numbers: Mapping[str, object]) -> Iterator[Fault]:
    for param, number in numbers.items():
        if number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, Real) or not holds(number):
            yield Fault(f"{param} is {_shown(number)}; {rule}", "", param)


def _shown(number: object) -> str:
    """Return a number as it is, and what is none with what it is."""
    return str(number) if isinstance(number, Real) else f"{number!r:.80} ({type(number).__name__})"
