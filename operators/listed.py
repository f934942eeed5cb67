"""What a user's function over lists returned, as a list. Knows no step."""

from collections.abc import Iterable, Mapping
from typing import Any


def listed(given: Iterable[Any]) -> list[Any]:
    """Return the records that `map_batches` was given; raises TypeError for one record, which would be taken apart."""
    if isinstance(given, str | bytes | Mapping):
        what = f"map_batches takes a function that returns a list of records, and it returned a {type(given).__name__}"
        raise TypeError(what)
    return list(given)
