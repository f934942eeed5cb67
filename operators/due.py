"""What is due at a time of events, the earliest first: in memory, or mostly in a table. Knows not what it is."""

import struct
from collections.abc import Callable, Hashable
from heapq import heappop, heappush
from typing import Protocol

from operators.keycode import exact_bytes_of_key
from operators.tables import Table
from operators.timed_state import Fired

Due = tuple[float, Hashable, str | None]
"""When, of which key, and which of its values; None: a timer."""

_MAX_NEAR = 8_192
_BEGIN = b""


class Dues(Protocol):
    """At equal times, in any order."""

    def push(self, time_s: float, key: Hashable, name: str | None) -> None: ...

    def pop(self, until_s: float) -> Due | None:
        """Take out what is due first, where that is at `until_s` or before."""
        ...


def let_go(
    dues: Dues, until_s: float, fired: Fired, take: Callable[[float, Hashable, str | None], object], *, most: int
) -> bool:
    """Call `take` with what is due, until `most` were or `fired` has as many results; say whether more may be due."""
    for _ in range(most):
        due = dues.pop(until_s) if len(fired[0]) < most else None
        if due is None:
            return len(fired[0]) >= most
        take(*due)
    return True


class DuesInMemory:
    """At equal times, what was pushed first comes first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Hashable, str | None]] = []
        self._num_pushed = 0

    def push(self, time_s: float, key: Hashable, name: str | None) -> None:
        self._num_pushed += 1
        heappush(self._heap, (time_s, self._num_pushed, key, name))

    def pop(self, until_s: float) -> Due | None:
        if not self._heap or self._heap[0][0] > until_s:
            return None
        time_s, _, key, name = heappop(self._heap)
        return time_s, key, name


class StoredDues:
    """All that is due is in the table, once `write` was called; what is due soon is in memory too.

    `far`: from which place on it is in the table alone; None: nothing is.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._near: list[tuple[bytes, int, Hashable, str | None]] = []
        self._num_near = 0
        self._far: bytes | None = None
        self._new: dict[bytes, tuple[Hashable, str | None]] = {}
        self._done: set[bytes] = set()

    def push(self, time_s: float, key: Hashable, name: str | None) -> None:
        place = place_of(time_s, key, name)
        self._new[place] = key, name
        self._done.discard(place)
        if self._far is None or place < self._far:
            self._push_near(place, key, name)
        if len(self._new) >= _MAX_NEAR:
            self.write()

    def pop(self, until_s: float) -> Due | None:
        until = _bytes_of_time(until_s) + b"\xff"
        if self._far is not None and (not self._near or self._near[0][0] >= self._far) and self._far <= until:
            self._fetch(self._far)
        if not self._near or self._near[0][0] > until:
            return None
        place, _, key, name = heappop(self._near)
        self._new.pop(place, None)
        self._done.add(place)  # also where it is new: it may stand in the table from before
        return _time_of(place), key, name

    def write(self) -> None:
        """Bring the table up to date, and leave in memory what is due soon."""
        if self._new or self._done:
            self._table.write_due(((place, *what) for place, what in self._new.items()), self._done)
            self._new.clear()
            self._done.clear()
        if len(self._near) > 2 * _MAX_NEAR:
            self._near.sort()
            self._far = self._near[_MAX_NEAR][0]
            while self._near[-1][0] >= self._far:
                self._near.pop()

    def restore(self) -> None:
        """All that is due is in the table."""
        self._far = _BEGIN

    def _fetch(self, far: bytes) -> None:
        self.write()
        found = self._table.due(far, _MAX_NEAR)
        for place, key, name in found:
            self._push_near(place, key, name)
        self._far = found[-1][0] + b"\0" if len(found) == _MAX_NEAR else None

    def _push_near(self, place: bytes, key: Hashable, name: str | None) -> None:
        self._num_near += 1
        heappush(self._near, (place, self._num_near, key, name))


def place_of(time_s: float, key: Hashable, name: str | None) -> bytes:
    """Return what is ordered as times are, and differs for whatever differs."""
    return b"".join((_bytes_of_time(time_s), exact_bytes_of_key(key), b"\0" if name is None else b"\1" + name.encode()))


def _bytes_of_time(time_s: float) -> bytes:
    """Return eight bytes that are ordered as the numbers are."""
    (bits,) = struct.unpack(">Q", struct.pack(">d", time_s + 0.0))
    return struct.pack(">Q", bits ^ (0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else 1 << 63))


def _time_of(place: bytes) -> float:
    (bits,) = struct.unpack(">Q", place[:8])
    (time_s,) = struct.unpack(">d", struct.pack(">Q", bits ^ (1 << 63 if bits >> 63 else 0xFFFF_FFFF_FFFF_FFFF)))
    return float(time_s)
