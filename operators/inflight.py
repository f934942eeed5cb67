"""Records that wait for something, and leave in the order in which they came. Knows nothing of what they wait for."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any


class _Pending(Enum):
    PENDING = "pending"
    GONE = "gone"


@dataclass(slots=True, eq=False)
class Slot:
    """A record's place in the order. `number`: it is the number-th record that the step has read."""

    number: int
    record: Any
    num_tries: int = 0
    result: Any = _Pending.PENDING


class InOrder:
    """A reorder buffer: results may come in any order, and leave in that of the records.

    Permits and order are apart: a slow record at the head holds back results, not the records behind it, up to
    `max_held` of them (with one bound for both, exponential latencies keep a third of the permits idle).
    """

    def __init__(self, max_in_flight: int) -> None:
        self._max_in_flight = max_in_flight
        self._max_held = 16 * max_in_flight
        self._slots: deque[Slot] = deque()
        self._waiting: deque[Slot] = deque()
        self._num_read = 0
        self._num_in_flight = 0

    def __len__(self) -> int:
        """Return how many records have not left yet."""
        return len(self._slots)

    def room(self) -> int:
        """Return how many more records can be taken now."""
        num_free = self._max_in_flight - self._num_in_flight - len(self._waiting)
        return min(num_free, self._max_held - len(self._slots))

    def add(self, records: Iterable[Any]) -> None:
        """Take records; they wait for a permit."""
        slots = [Slot(number, record) for number, record in enumerate(records, self._num_read + 1)]
        self._num_read += len(slots)
        self._slots.extend(slots)
        self._waiting.extend(slots)

    def start(self) -> list[Slot]:
        """Give permits to as many waiting records as there are permits; each is in flight until it is finished."""
        num_started = min(len(self._waiting), self._max_in_flight - self._num_in_flight)
        self._num_in_flight += num_started
        return [self._waiting.popleft() for _ in range(num_started)]

    def finish(self, slot: Slot, result: Any) -> None:
        """Give the record its result, and its permit back."""
        assert slot.result is _Pending.PENDING, slot
        slot.result = result
        self._num_in_flight -= 1

    def drop(self, slot: Slot) -> None:
        """Let the record leave without a result: it was given up."""
        self.finish(slot, _Pending.GONE)

    def ready(self) -> list[Any]:
        """Return the results whose turn it is, and forget them."""
        results: list[Any] = []
        while self._slots and self._slots[0].result is not _Pending.PENDING:
            result = self._slots.popleft().result
            if result is not _Pending.GONE:
                results.append(result)
        return results
