"""Records that wait for something, and the order in which they leave. Knows nothing of what they wait for."""

from collections import deque
from collections.abc import Iterable, Sequence
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
    has_permit: bool = False

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

    def __init__(self, max_in_flight: int, num_ahead: int = 0) -> None:
        """`num_ahead`: so many more are in flight, for whoever has a bound of its own on what runs."""
        self._max_in_flight = max_in_flight + num_ahead
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
        return min(num_free, self._max_held - len(self))

    def add(self, batch: Batch) -> None:
        """Take records; they wait for a permit. A watermark waits for all records before it."""
        first = self._num_read + 1
        if batch.timestamps_s is None:
            slots = [Slot(number, record) for number, record in enumerate(batch.values, first)]
        else:
            rows = zip(batch.values, batch.timestamps_s, strict=True)
            slots = [Slot(number, record, time_s) for number, (record, time_s) in enumerate(rows, first)]
        self._num_read += len(slots)
        self._hold(slots)
        self._waiting.extend(slots)
        if batch.watermark_s is not None:
            self._mark(batch.watermark_s)

    def held(self) -> list[HeldRecord]:
        """Return every record that has not left, in order."""
        return [held_record(slot, slot.watermark_s) for slot in self._slots]

    def restore(self, held: Iterable[HeldRecord], *, is_dealt: bool = False) -> None:
        """Take records as `held` gave them: what is finished leaves in its turn, all others wait for a permit.

        `is_dealt`: they were held in several places, and no watermark among them is true of those before it here.
        """
        for record, timestamp_s, watermark_s, fate, result in held:
            self._num_read += 1
            slot = Slot(self._num_read, record, timestamp_s)
            self._hold([slot])
            if watermark_s is not None and not is_dealt:
                self._mark(watermark_s)
            if fate == "pending":
                self._waiting.append(slot)
            else:
                self.finish(slot, result if fate == "done" else _Pending.GONE)

    def start(self) -> list[Slot]:
        """Give permits to as many waiting records as there are permits; each is in flight until it is finished."""
        num_started = min(len(self._waiting), self._max_in_flight - self._num_in_flight)
        self._num_in_flight += num_started
        started = [self._waiting.popleft() for _ in range(num_started)]
        for slot in started:
            slot.has_permit = True
        return started

    def give_back(self, slot: Slot) -> None:
        """Give back a record's permit, if it has one: it goes on waiting, for what another one asks."""
        self._num_in_flight -= slot.has_permit
        slot.has_permit = False

    def finish(self, slot: Slot, result: Any) -> None:
        """Give the record its result, and its permit back."""
        assert slot.result is _Pending.PENDING, slot
        slot.result = result
        self.give_back(slot)

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

    def _hold(self, slots: Sequence[Slot]) -> None:
        """Keep records that have come until they leave."""
        self._slots.extend(slots)

    def _mark(self, watermark_s: float) -> None:
        """Let a watermark leave after all records that are held now."""
        if self._slots:
            self._slots[-1].watermark_s = watermark_s
        else:
            self._watermark_s = watermark_s


def held_record(slot: Slot, watermark_s: float | None) -> HeldRecord:
    """Return a record as it is kept, with the watermark behind it."""
    if isinstance(slot.result, _Pending):
        return slot.record, slot.timestamp_s, watermark_s, slot.result.value, None
    return slot.record, slot.timestamp_s, watermark_s, "done", slot.result
