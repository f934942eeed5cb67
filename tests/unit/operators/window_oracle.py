"""What windows must give, the obvious way: every record is kept, and every result computed anew. Knows no operator."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple

import msgspec

from sage.flow.windows import CountWindow, Session, Shape, Sliding, Tumbling


class Event(msgspec.Struct, frozen=True, order=True):
    """Times are multiples of 1/8, so that sums of them are exact."""

    key: int
    time_s: float
    number: int


class Given(NamedTuple):
    """A result; `numbers` are of the records in it, in the order in which they came."""

    key: int
    start: float
    end: float
    numbers: tuple[int, ...]


@dataclass
class Oracle:
    """Takes batch by batch. A window that changed after it was given is given again."""

    shape: Shape
    allow_late_s: float
    watermark_s: float = -inf
    kept: list[Event] = field(default_factory=list)
    watermark_at: dict[int, float] = field(default_factory=dict)
    given: set[Given] = field(default_factory=set)
    num_late: int = 0

    def batch(self, events: list[Event], watermark_s: float) -> list[Given]:
        for event in events:
            self.take(event)
        self.watermark_s = max(self.watermark_s, watermark_s)
        over = [window for window in self.windows() if self.is_given(window)]
        new = [window for window in over if window not in self.given]
        self.given.update(new)
        if isinstance(self.shape, Session):
            gone = {n for w in over if self.is_over(w.end + self.allow_late_s, self.watermark_s) for n in w.numbers}
            self.kept = [event for event in self.kept if event.number not in gone]
        return [window for window in new if window.numbers]

    def take(self, event: Event) -> None:
        self.watermark_at[event.number] = self.watermark_s
        if isinstance(self.shape, Session):
            self.kept.append(event)
            [own] = [window for window in self.windows() if event.number in window.numbers]
            is_late = len(own.numbers) == 1 and self.is_over(own.end + self.allow_late_s, self.watermark_s)
            if is_late:
                self.kept.pop()
        elif isinstance(self.shape, CountWindow):
            self.kept.append(event)
            is_late = False
        else:
            ends = [end for _, end in self.covering(event.time_s)]
            is_late = all(self.is_over(end + self.allow_late_s, self.watermark_s) for end in ends)
            if not is_late:
                self.kept.append(event)
        self.num_late += is_late

    def is_given(self, window: Given) -> bool:
        if isinstance(self.shape, CountWindow):
            return len(window.numbers) == self.shape.num_records or self.watermark_s == inf
        return self.is_over(window.end, self.watermark_s)

    def is_over(self, end: float, watermark_s: float) -> bool:
        return end < watermark_s if isinstance(self.shape, Session) else end <= watermark_s

    def windows(self) -> Iterator[Given]:
        for key in sorted({event.key for event in self.kept}):
            own = [event for event in self.kept if event.key == key]
            if isinstance(self.shape, Session):
                yield from self.sessions(key, own)
            elif isinstance(self.shape, CountWindow):
                for first in range(0, len(own), self.shape.num_records):
                    taken = [event.number for event in own[first : first + self.shape.num_records]]
                    yield Given(key, first, first + len(taken), tuple(taken))
            else:
                for start, end in sorted({window for event in own for window in self.covering(event.time_s)}):
                    taken = [e.number for e in own if start <= e.time_s < end and self.was_open(end, e)]
                    yield Given(key, start, end, tuple(taken))

    def was_open(self, end: float, event: Event) -> bool:
        return end + self.allow_late_s > self.watermark_at[event.number]

    def covering(self, time_s: float) -> Iterator[tuple[float, float]]:
        assert isinstance(self.shape, Tumbling | Sliding)
        every_s = self.shape.size_s if isinstance(self.shape, Tumbling) else self.shape.every_s
        start = time_s // every_s * every_s
        while start > time_s - self.shape.size_s:
            yield start, start + self.shape.size_s
            start -= every_s

    def sessions(self, key: int, own: list[Event]) -> Iterator[Given]:
        assert isinstance(self.shape, Session)
        gap_s = self.shape.gap_s
        groups: list[list[Event]] = []
        for event in sorted(own, key=lambda event: event.time_s):
            if groups and event.time_s - groups[-1][-1].time_s <= gap_s:
                groups[-1].append(event)
            else:
                groups.append([event])
        for group in groups:
            numbers = tuple(sorted(event.number for event in group))
            yield Given(key, group[0].time_s, group[-1].time_s + gap_s, numbers)


def by_all(shape: Shape, events: list[Event], fn: Callable[[list[int]], Any]) -> list[Any]:
    """Return what all windows of `events` come to where nothing is late."""
    found = Oracle(shape, inf).batch(events, inf)
    return sorted((window.key, window.start, window.end, fn(list(window.numbers))) for window in found)
