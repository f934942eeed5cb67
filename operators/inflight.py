"""Records that wait for something, and leave in the order in which they came. Knows nothing of what they wait for."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sage.base.batch import Batch


class _Pending(Enum):
    PENDING = "pending"
    GONE = "gone"


@dataclass(slots=True, eq=False)
class Slot:
    """A record's place in the order. `number`: it is the number-th record that the step has read.

    `watermark_s` leaves right after the record.
    """

    number: int
    record: Any
    timestamp_s: float | None = None
    watermark_s: float | None = None
    num_tries: int = 0
    result: Any = _Pending.PENDING

    @property
    def has_ended(self) -> bool:
        return self.result is not _Pending.PENDING

    @property
    def has_result(self) -> bool:
        return not isinstance(self.result, _Pending)


HeldRecord = tuple[Any, float | None, float | None, str, Any]
"""A record, its timestamp, the watermark behind it, "pending", "done" or "gone", and its result where that is done."""


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
        self._watermark_s: float | None = None

    def __len__(self) -> int:
        """Return how many records have not left yet."""
        return len(self._slots)

    def room(self) -> int:
        """Return how many more records can be taken now."""
        num_free = self._max_in_flight - self._num_in_flight - len(self._waiting)
        return min(num_free, self._max_held - len(self._slots))

    def add(self, batch: Batch) -> None:
        """Take records; they wait for a permit. A watermark waits for all records before it."""
        first = self._num_read + 1
        if batch.timestamps_s is None:
            slots = [Slot(number, record) for number, record in enumerate(batch.values, first)]
        else:
            rows = zip(batch.values, batch.timestamps_s, strict=True)
            slots = [Slot(number, record, time_s) for number, (record, time_s) in enumerate(rows, first)]
        self._num_read += len(slots)
        self._slots.extend(slots)
        self._waiting.extend(slots)
        if batch.watermark_s is not None and self._slots:
            self._slots[-1].watermark_s = batch.watermark_s
        elif batch.watermark_s is not None:
            self._watermark_s = batch.watermark_s

    def held(self) -> list[HeldRecord]:
        """Return every record that has not left, in order."""
        return [
            (slot.record, slot.timestamp_s, slot.watermark_s, slot.result.value, None)
            if isinstance(slot.result, _Pending)
            else (slot.record, slot.timestamp_s, slot.watermark_s, "done", slot.result)
            for slot in self._slots
        ]

    def restore(self, held: Iterable[HeldRecord]) -> None:
        """Take records as `held` gave them: what is finished leaves in its turn, all others wait for a permit."""
        for record, timestamp_s, watermark_s, fate, result in held:
            self._num_read += 1
            slot = Slot(self._num_read, record, timestamp_s, watermark_s)
            self._slots.append(slot)
            if fate == "pending":
                self._waiting.append(slot)
            else:
                slot.result = result if fate == "done" else _Pending.GONE

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

    def ready(self) -> Batch | None:
        """Return the results, with the last watermark, whose turn it is, and forget them; None where there are none."""
        results: list[Any] = []
        times: list[float] = []
        watermark_s, self._watermark_s = self._watermark_s, None
        while self._slots and self._slots[0].result is not _Pending.PENDING:
            slot = self._slots.popleft()
            if slot.result is not _Pending.GONE:
                results.append(slot.result)
                if slot.timestamp_s is not None:
                    times.append(slot.timestamp_s)
            if slot.watermark_s is not None:
                watermark_s = slot.watermark_s
        if not results and watermark_s is None:
            return None
        return Batch(results, None, times or None, watermark_s)
