"""What a keyed process has of one key, and what is saved of it. Knows neither clock nor table."""

from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class OwnState:
    """What a key has, but for its alarm. `expiry_s`: of values that expire."""

    values: dict[str, Any] = field(default_factory=dict)
    timers: set[float] = field(default_factory=set)
    expiry_s: dict[str, float] = field(default_factory=dict)

    def is_empty(self) -> bool:
        return not (self.values or self.timers)


OwnRow = tuple[dict[str, Any], tuple[float, ...], dict[str, float], float | None]
"""What is saved of a key: values, timers, when values expire, and after how many seconds its alarm rings."""


def row_of_own(own: OwnState) -> OwnRow:
    return own.values, tuple(sorted(own.timers)), own.expiry_s, None


def own_of_row(row: OwnRow, declared: Container[str]) -> OwnState:
    """Return what a key had, without states that the process declares no more."""
    values, timers, expiry_s, _ = row
    return OwnState({name: value for name, value in values.items() if name in declared}, set(timers), dict(expiry_s))
