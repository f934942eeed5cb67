"""Records as JSON: what has no JSON form is refused by its field, and nothing is written in its place.

NaN and the infinities are no JSON (RFC 8259, section 6); the encoder would write null for them.
"""

import re
from collections.abc import Callable
from functools import partial
from math import isfinite
from typing import Any

import msgspec

Hook = Callable[[Any], object]

_INFINITE = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")
"""A float of 64 bits in MessagePack whose exponent is all ones (IEEE 754): NaN or an infinity; or bytes of a text."""


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
        for record in records:
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
    if not _may_be_infinite(value, hook):
        return
    found = _not_finite(msgspec.to_builtins(value, enc_hook=partial(_without_raw, hook)), "$")
    if found is not None:
        where, number = found
        raise NoJsonForm(f"{number!r} at {where} is no number of JSON" if where != "$" else f"{number!r} is no JSON")


def _may_be_infinite(value: Any, hook: Hook | None) -> bool:
    """Say whether there may be a number that is not finite: a look at all its bytes costs less than one at each value.

    What MessagePack cannot say, as a number of more than 64 bits, is looked at.
    """
    try:
        return _INFINITE.search(msgspec.msgpack.encode(value, enc_hook=hook)) is not None
    except (TypeError, ValueError, OverflowError):
        return True


def _without_raw(hook: Hook | None, value: Any) -> object:
    """Leave out what is JSON already: no number in it is one of ours."""
    if isinstance(value, msgspec.Raw):
        return None
    if hook is None:
        raise TypeError(f"objects of type {type(value).__name__} are not JSON")
    return hook(value)


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
