"""What a user's function or method returned as several records, as a list. Knows no step."""

from collections.abc import Iterable
from typing import Any

ONE_RECORD = frozenset({str, bytes, dict})
"""What is one record, though it can be iterated."""


FLAT_MAP = "flat_map takes a function"


def refuse_one_record(given: object, *, by: str) -> None:
    """Raise TypeError: `given`, which `by` returned, is one record."""
    raise TypeError(f"{by} that returns a list of records, and it returned a {type(given).__name__}")


def listed(given: Iterable[Any], *, by: str = "map_batches takes a function") -> list[Any]:
    """Return the records that `by` returned; raises TypeError for one record, which would be taken apart."""
    if type(given) in ONE_RECORD:
        refuse_one_record(given, by=by)
    return list(given)
