"""Windows as values: which records belong together, and what comes of each. Knows nothing of how they are computed."""

from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

K = TypeVar("K")
V = TypeVar("V")


class WindowResult(msgspec.Struct, Generic[K, V], frozen=True):
    """What a window made of one key's records from `start` to before `end`, in seconds of event time.

    Of a `CountWindow`, `start` and `end` count the key's records: the first window of three is from 0 to 3.
    """

    key: K
    start: float
    end: float
    value: V


@dataclass(frozen=True, slots=True)
class Tumbling:
    """Windows of `size_s`, one after the other, aligned to epoch 0: [0, size_s), [size_s, 2 size_s), ..."""

    size_s: float


@dataclass(frozen=True, slots=True)
class Sliding:
    """Windows of `size_s`, one every `every_s`, aligned to epoch 0; a record belongs to each that covers it."""

    size_s: float
    every_s: float


@dataclass(frozen=True, slots=True)
class Session:
    """Windows of a key's records that are no more than `gap_s` apart; each ends `gap_s` after its last record."""

    gap_s: float


@dataclass(frozen=True, slots=True)
class CountWindow:
    """Windows of `num_records` of a key each, in the order in which they come; the last may have fewer."""

    num_records: int


@dataclass(frozen=True, slots=True)
class Trigger:
    """When a window gives what it has so far, before it is over: after so many records of its key since it last did,
    or every so many seconds of the clock in which some came."""

    every_records: int | None = None
    every_s: float | None = None


Shape = Tumbling | Sliding | Session | CountWindow
