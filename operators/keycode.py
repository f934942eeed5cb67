"""Keys to bytes, so that equal keys give equal bytes in every process. Knows nothing of partitions.

Python's own `hash` differs between processes for texts, and is the same for numbers of any type that are equal.
"""

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from numbers import Complex, Number, Real
from typing import Any
from uuid import UUID

import msgspec

from operators.failure import shown_record
from sage.base.errors import RecordFailed

NAN = float("nan")
"""The nan of all keys: a dict finds a nan only if it is the same object."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY, _MICROSECOND = timedelta(days=1), timedelta(microseconds=1)
_NUMBERS = (int, float, complex, Decimal, Fraction, Number)


def with_one_nan(key: Any) -> Any:
    """Return a key that was read from bytes with the one nan in place of any, also within tuples."""
    if type(key) is float and key != key:
        return NAN
    if type(key) is tuple and (float in (kinds := set(map(type, key))) or tuple in kinds):
        return tuple(map(with_one_nan, key))
    return key


def bytes_of_key(key: Hashable) -> bytes:
    """Return bytes that are equal for equal keys, in any process, and mostly differ for others.

    Numbers are equal by value (1, 1.0 and True), named tuples equal plain ones, each nan is one key. Raises
    RecordFailed where a key is of a type that has no such bytes.

    >>> bytes_of_key(1) == bytes_of_key(1.0) == bytes_of_key(True) != bytes_of_key("1")
    True
    """
    return _bytes(key, _hashed)


def exact_bytes_of_key(key: Hashable) -> bytes:
    """As `bytes_of_key`, and they differ for keys that differ.

    >>> bytes_of_key(-1) == bytes_of_key(-2), exact_bytes_of_key(-1) == exact_bytes_of_key(-2)
    (True, False)
    """
    return _bytes(key, _exact)


def _hashed(number: Any) -> bytes:
    return b"an" if number != number else hash(number).to_bytes(8, "little", signed=True)


def _exact(number: Any) -> bytes:
    """Numbers that are equal have one fraction in lowest terms."""
    if type(number) is int:
        return b"%d" % number
    if number != number:
        return b"an"
    if issubclass(type(number), Complex) and not issubclass(type(number), Real):  # NumPy's too
        return _exact(number.real) + (b"+" + _exact(number.imag) if number.imag else b"")
    try:
        top, bottom = number.as_integer_ratio()
    except OverflowError:
        return b"inf" if number > 0 else b"-inf"
    except AttributeError:
        top, bottom = int(number), 1
        if top != number:
            raise no_key(number) from None
    return b"%d" % top if bottom == 1 else b"%d/%d" % (top, bottom)


def _bytes(key: Hashable, of_number: Callable[[Any], bytes]) -> bytes:
    if isinstance(key, str):
        return b"s" + key.encode("utf-8", "surrogatepass")
    if isinstance(key, bytes):
        return b"b" + key
    if key is None:
        return b"0"
    if isinstance(key, _NUMBERS) and type(key).__name__ != "timedelta64":  # NumPy's counts as a number
        return b"n" + of_number(key)
    if isinstance(key, tuple):
        return b"t" + _joined(key, of_number)
    if isinstance(key, frozenset):
        return b"f" + _joined_bytes(sorted(_bytes(item, of_number) for item in key))
    return _bytes_of_value(key, of_number)


def _bytes_of_value(key: Hashable, of_number: Callable[[Any], bytes]) -> bytes:
    """Values of a class: its short name and what makes them equal (a file run as a script has another module name)."""
    name = type(key).__qualname__.encode()
    match key:
        case Enum():
            return b"e" + _joined_bytes([name, (key.name or str(key.value)).encode()])
        case datetime():
            return b"d" + _moment(key).encode()
        case time():
            return b"d" + _time_of_day(key).encode()
        case date():
            return b"d" + key.isoformat().encode()
        case timedelta():
            return b"d" + _joined((key.days, key.seconds, key.microseconds), of_number)
        case UUID():
            return b"u" + key.bytes
        case _ if type(key).__module__ == "numpy" and name in (b"bool", b"bool_"):  # equal to 1, and no number
            return b"n" + of_number(int(bool(key)))
        case _:
            return b"v" + _joined_bytes([name, _joined(_fields_of_value(key), of_number)])


def _moment(key: datetime) -> str:
    """In seconds since 1970 whatever the zone; in microseconds where no float says it exactly: years from now."""
    if key.utcoffset() is None:
        return key.isoformat()
    since = key - _EPOCH
    since_s = since.total_seconds()
    return str(since_s) if timedelta(seconds=since_s) == since else f"{since // _MICROSECOND}us"


def _time_of_day(key: time) -> str:
    """In UTC whatever the zone; where that is another day, in microseconds: no time of this day is equal to it."""
    offset = key.utcoffset()
    if offset is None:
        return key.isoformat()
    at = timedelta(hours=key.hour, minutes=key.minute, seconds=key.second, microseconds=key.microsecond) - offset
    if timedelta(0) <= at < _DAY:
        return (_EPOCH + at).timetz().isoformat()
    return f"{at // _MICROSECOND}us+00:00"


def _fields_of_value(key: Any) -> tuple[Any, ...]:
    if isinstance(key, msgspec.Struct) and key.__struct_config__.frozen:
        return tuple(getattr(key, name) for name in key.__struct_fields__)
    kind: Any = type(key)
    made_by = getattr(kind, "__dataclass_params__", None)
    if made_by is not None and made_by.frozen and made_by.eq:
        return tuple(getattr(key, field.name) for field in dataclasses.fields(kind) if field.compare)
    raise no_key(key)


def no_key(key: Any) -> RecordFailed:
    """Return the error for what cannot be a key of a stream that is parted."""
    kind = type(key)
    shown = (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )
    return RecordFailed(
        f"a {shown} cannot be the key of a record: {shown_record(key)}",
        "Let key_by return a text, bytes, a number, None, an Enum, a date or time, a UUID, or a tuple, frozenset,"
        " frozen dataclass or frozen Struct of these. Of most others their text does: str(key).",
    )


def sound_key(key: Any) -> Any:
    """Return a key that has bytes, and can be looked up; raises RecordFailed for any other.

    >>> sound_key(("ada", 1))
    ('ada', 1)
    """
    if type(key) not in PLAIN_KEYS:
        try:
            hash(key)
        except TypeError:
            raise no_key(key) from None
        exact_bytes_of_key(key)
    return key


PLAIN_KEYS = frozenset({str, int, bytes, bool, type(None), float})
"""Types whose values are all keys: most of those that are met."""


def _joined(keys: Sequence[Any], of_number: Callable[[Any], bytes]) -> bytes:
    return _joined_bytes([_bytes(key, of_number) for key in keys])


def _joined_bytes(parts: Sequence[bytes]) -> bytes:
    """Join parts so that no two lists of parts give the same bytes."""
    return b"".join(len(part).to_bytes(4, "little") + part for part in parts)
