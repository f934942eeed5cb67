"""Records that wait for something and leave as they end, though none passes a watermark.

Knows nothing of what they wait for.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from operators.inflight import HeldRecord, InOrder, Slot, held_record
from sage.base.batch import Batch
from sage.flow.graph import Step


@dataclass(slots=True)
class _Section:
    """Records between two watermarks. `slots` are all that have not left, `ended` those of them that may."""

    slots: dict[int, Slot] = field(default_factory=dict)
    ended: list[Slot] = field(default_factory=list)
    watermark_s: float | None = None


class AnyOrder(InOrder):
    """Permits and bounds as in `InOrder`; what has ended waits for nothing but the watermarks before it.

    A record that came before a watermark leaves before it, so that it does not come too late for its window; one that
    came after it leaves after it, which is all the order there is.
    """

    def __init__(self, max_in_flight: int, num_ahead: int = 0) -> None:
        super().__init__(max_in_flight, num_ahead)
        self._sections = deque([_Section()])
        self._section_of: dict[int, _Section] = {}
        self._num_held = 0

    def __len__(self) -> int:
        return self._num_held

    def held(self) -> list[HeldRecord]:
        """Return every record that has not left; the watermark of a section is behind the last of them."""
        held: list[HeldRecord] = []
        for section in self._sections:
            held += [held_record(slot, None) for slot in section.slots.values()]
            if held and section.watermark_s is not None:
                record, timestamp_s, _, fate, result = held[-1]
                held[-1] = record, timestamp_s, section.watermark_s, fate, result
        return held

    def finish(self, slot: Slot, result: Any) -> None:
        super().finish(slot, result)
        self._section_of.pop(slot.number).ended.append(slot)

    def ready(self) -> Batch | None:
        """Return what has ended and may leave, with the last watermark that no record holds back any more."""
        left: list[Slot] = []
        watermark_s, self._watermark_s = self._watermark_s, None
        while True:
            section = self._sections[0]
            left += section.ended
            for slot in section.ended:
                del section.slots[slot.number]
            section.ended.clear()
            if section.slots or section.watermark_s is None:
                break
            watermark_s = section.watermark_s
            self._sections.popleft()
        self._num_held -= len(left)
        return batch_of(left, watermark_s)

    def _hold(self, slots: Sequence[Slot]) -> None:
        section = self._sections[-1]
        for slot in slots:
            section.slots[slot.number] = slot
            self._section_of[slot.number] = section
        self._num_held += len(slots)

    def _mark(self, watermark_s: float) -> None:
        if self._sections[-1].slots:
            self._sections[-1].watermark_s = watermark_s
            self._sections.append(_Section())
        elif len(self._sections) > 1:
            self._sections[-2].watermark_s = watermark_s
        else:
            self._watermark_s = watermark_s


class Overtaking(AnyOrder):
    """As `AnyOrder`, but what came after a watermark may leave before it.

    So it is in the body of a loop, where watermarks count records and none is late: one that takes long holds back no
    record behind it, which would come round meanwhile.
    """

    def ready(self) -> Batch | None:
        """Return what has ended, with the last watermark that no record holds back any more."""
        left: list[Slot] = []
        watermark_s, self._watermark_s = self._watermark_s, None
        for section in self._sections:
            left += section.ended
            for slot in section.ended:
                del section.slots[slot.number]
            section.ended.clear()
        while not self._sections[0].slots and self._sections[0].watermark_s is not None:
            watermark_s = self._sections.popleft().watermark_s
        self._num_held -= len(left)
        return batch_of(left, watermark_s)


def batch_of(left: Sequence[Slot], watermark_s: float | None) -> Batch | None:
    """Return what became of records that leave, and the watermark behind them; None where there is nothing."""
    results = [slot for slot in left if slot.has_result]
    if not results and watermark_s is None:
        return None
    times = [slot.timestamp_s for slot in results if slot.timestamp_s is not None]
    return Batch([slot.result for slot in results], None, times or None, watermark_s)


def order_for(step: Step, max_in_flight: int, *, ordered: bool, num_ahead: int = 0) -> InOrder:
    """Return what keeps the records of a step that waits."""
    if ordered:
        return InOrder(max_in_flight, num_ahead)
    kind = AnyOrder if step.inside is None else Overtaking
    return kind(max_in_flight, num_ahead)
