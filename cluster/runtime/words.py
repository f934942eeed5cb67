"""Values that travel as a text each: how they are written, and how they are read. Knows nothing of columns."""

from collections.abc import Callable
from datetime import time, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal, NamedTuple

Kind = Literal["decimal", "time", "timedelta"]


class Word(NamedTuple):
    """How values of a type are written and read."""

    kind: Kind
    text_of: Callable[[Any], str]


class Unwritten(Exception):
    """A value of such a type that no text says, and why."""


def time_text(at: time) -> str:
    """Return ISO 8601, and `~` where the time is the second of its day; raises Unwritten."""
    if at.tzinfo is not None and type(at.tzinfo) is not timezone:
        raise Unwritten(f"a time in the zone {at.tzinfo!r}, which is neither UTC nor a fixed offset")
    if at.tzinfo is not None and at.tzinfo.utcoffset(None).microseconds:  # ISO 8601 knows no such offsets
        raise Unwritten(f"a time whose offset is no whole number of seconds: {at.tzinfo!r}")
    return at.isoformat() + ("~" if at.fold else "")


def timedelta_text(length: timedelta) -> str:
    """Return days, seconds and microseconds."""
    return f"{length.days} {length.seconds} {length.microseconds}"


WORDS: dict[type, Word] = {
    Decimal: Word("decimal", str),
    time: Word("time", time_text),
    timedelta: Word("timedelta", timedelta_text),
}


def value_of(kind: Kind) -> Callable[[str], Any]:
    """Return what reads texts of a kind; it raises what Python raises for one that says no such value."""
    match kind:
        case "decimal":
            return Decimal
        case "time":
            return _time_from
        case "timedelta":
            return _timedelta_from


def _time_from(text: str) -> time:
    return time.fromisoformat(text[:-1]).replace(fold=1) if text.endswith("~") else time.fromisoformat(text)


def _timedelta_from(text: str) -> timedelta:
    days, seconds, microseconds = map(int, text.split())
    return timedelta(days, seconds, microseconds)
