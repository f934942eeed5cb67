"""Records as JSON: what has no JSON form is refused by its field, and nothing is written in its place.

NaN and the infinities are no JSON (RFC 8259, section 6); the encoder would write null for them.
"""

from collections.abc import Callable
from math import isfinite
from typing import Any

import msgspec

Hook = Callable[[Any], object]


class NoJsonForm(ValueError):
    """A value that JSON does not know."""


def encoded(value: Any) -> bytes:
    """Return a value as JSON; raises NoJsonForm."""
    return _checked(value, lambda: msgspec.json.encode(value), None)


def encoded_lines(encoder: msgspec.json.Encoder, records: Any) -> bytes:
    """Return each record as a line of JSON; raises NoJsonForm. Records without a null cost no second look."""
    try:
        lines = encoder.encode_lines(records)
    except (TypeError, ValueError, OverflowError) as error:
        raise NoJsonForm(str(error)) from error
    if b"null" in lines:
        for record, line in zip(records, lines.splitlines(), strict=True):
            if b"null" in line:
                _check_finite(record, encoder.enc_hook)
    return lines


def encoded_line(encoder: msgspec.json.Encoder, record: Any) -> bytes:
    """Return a record as JSON; raises NoJsonForm."""
    return _checked(record, lambda: encoder.encode(record), encoder.enc_hook)


def _checked(value: Any, encode: Callable[[], bytes], hook: Hook | None) -> bytes:
    try:
        data = encode()
    except (TypeError, ValueError, OverflowError) as error:
        raise NoJsonForm(str(error)) from error
    if b"null" in data:
        _check_finite(value, hook)
    return data


def _check_finite(value: Any, hook: Hook | None) -> None:
    found = _not_finite(msgspec.to_builtins(value, enc_hook=hook), "$")
    if found is not None:
        where, number = found
        raise NoJsonForm(f"{number!r} at {where} is no number of JSON" if where != "$" else f"{number!r} is no JSON")


def _not_finite(value: Any, where: str) -> tuple[str, float] | None:
    """Return the first number that is not finite, and where it is, as `$.field[0]`."""
    if isinstance(value, float):
        return None if isfinite(value) else (where, value)
    if isinstance(value, dict):
        inner = ((each, f"{where}.{key}") for key, each in value.items())
    elif isinstance(value, list | tuple):
        inner = ((each, f"{where}[{at}]") for at, each in enumerate(value))
    else:
        return None
    return next((found for each, path in inner if (found := _not_finite(each, path)) is not None), None)
