"""Records about which the same is asked while one of them is asked already. Knows nothing of how it is asked."""

from collections.abc import Callable, Hashable
from typing import Any

from operators.inflight import Slot
from sage.base.errors import InvalidRequest
from sage.flow.spec import Generate


class Twins:
    """By key: who waits for what the first record of that key asks."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, list[Slot]] = {}

    def joins(self, key: Hashable, slot: Slot) -> bool:
        """Let a record wait for the first one of its key; False where it is the first."""
        twins = self._waiting.get(key)
        if twins is None:
            self._waiting[key] = []
            return False
        twins.append(slot)
        return True

    def part(self, key: Hashable) -> list[Slot]:
        """Return who waited for the first record of `key`: it has ended."""
        return self._waiting.pop(key, [])


def key_function(dedup: bool | Callable[[Any], Hashable]) -> Callable[[Any], Hashable] | None:
    """Return the key by which records are equal; it raises what a user's function may. None: none are."""
    if not dedup:
        return None
    return _hashable(dedup) if callable(dedup) else _by_value


def has_one_answer(spec: Generate) -> bool:
    """Say whether equal prompts have equal answers, and nobody watches how they come."""
    return spec.on_token is None and (spec.temperature == 0 or spec.seed is not None)


def _by_value(record: Any) -> Hashable:
    """Records are equal that are equal and of one type: 1 and 1.0 are two."""
    return type(record), _hashed(record)


def _hashable(key_of: Callable[[Any], Hashable]) -> Callable[[Any], Hashable]:
    return lambda record: _hashed(key_of(record))


def _hashed(key: Any) -> Hashable:
    try:
        hash(key)
    except TypeError as error:
        what = f"dedup compares records by their hash, and a {type(key).__name__} has none"
        raise InvalidRequest(what, 'Give a key: dedup=lambda record: record["id"].', param="dedup") from error
    return key  # type: ignore[no-any-return]  # it has a hash
