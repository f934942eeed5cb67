"""Interval joins: pairs of records of one key that are near each other in event time. Knows nothing of batches.

Records are `(0, left)` and `(1, right)`. One is kept as long as the watermark lets a partner of it come.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Hashable
from math import inf
from typing import Any

from operators.sides import Add
from operators.spilled import refuse_stored
from operators.state import SavedRows, StepState
from operators.timed_state import Fired

Timed = tuple[float, int, Any]
"""Time, number, record: no two have the same number, so that records are never compared."""


class IntervalJoin:
    """A left at `t` meets rights from `t - before_s` to `t + after_s`, both included. `kept[key]`: lefts and rights."""

    def __init__(self, before_s: float, after_s: float, late: Add) -> None:
        self._reach_s = ((before_s, after_s), (after_s, before_s))
        self._late = late
        self._kept: dict[Hashable, tuple[list[Timed], list[Timed]]] = {}
        self._num = 0
        self._watermark_s = -inf
        self._swept_s = -inf
        self._rows = SavedRows(self._row)
        self.is_behind = False

    def lines(self, number: int, names: dict[str, Any]) -> tuple[list[str], list[str]]:
        names[f"meet{number}"] = self._meet
        return [], [f"meet{number}(x, key, t, out, out_times)"]

    def advance(self, watermark_s: float | None) -> Fired:
        """Now and then, as the watermark rises by all that may be kept, forget what has had its time."""
        if watermark_s is not None and watermark_s > self._watermark_s:
            self._watermark_s = watermark_s
            if not watermark_s - self._swept_s < sum(self._reach_s[0]):
                self._swept_s = watermark_s
                for key in list(self._kept):
                    self._sweep(key)
        return [], []

    def _meet(
        self, tagged: tuple[int, Any], key: Hashable, time_s: float, out: list[Any], out_times: list[float]
    ) -> None:
        side, record = tagged
        if time_s < self._watermark_s:
            self._late(record, time_s)
            return
        before_s, after_s = self._reach_s[side]
        kept = self._kept.get(key)
        if kept is None:
            kept = self._begin(key, side, time_s)
        others = kept[1 - side]
        first = bisect_left(others, (time_s - before_s, -1))
        last = bisect_right(others, (time_s + after_s, inf))
        for other_s, _, other in others[first:last]:
            out.append((other, record) if side else (record, other))
            out_times.append(max(time_s, other_s))
        self._num += 1
        self._rows.marks.touch(key)
        insort(kept[side], (time_s, self._num, record))

    def _begin(self, key: Hashable, side: int, time_s: float) -> tuple[list[Timed], list[Timed]]:
        """Keep something of a key; the first is a record of this side and time."""
        kept = self._kept[key] = ([], [])
        return kept

    def _sweep(self, key: Hashable) -> None:
        sides = self._kept[key]
        for side, (_, after_s) in zip(sides, self._reach_s, strict=True):
            num_over = bisect_left(side, (self._watermark_s - after_s, -1))
            if num_over:
                del side[:num_over]
                self._rows.marks.touch(key)
        if not any(sides):
            del self._kept[key]

    def value_of(self, key: Hashable) -> dict[str, list[tuple[float, Any]]] | None:
        """Return the records of a key, with their times, that may still meet others: those of either stream."""
        sides = self._kept.get(key)
        if sides is None:
            return None
        return {name: [(t, x) for t, _, x in side] for name, side in zip(("left", "right"), sides, strict=True)}

    def snapshot(self) -> StepState:
        return self._rows.snapshot(self._kept.keys())

    def _row(self, key: Hashable) -> tuple[tuple[tuple[float, Any], ...], ...]:
        return tuple(tuple((time_s, record) for time_s, _, record in side) for side in self._kept[key])

    def restore(self, state: StepState) -> None:
        refuse_stored(state)
        for key, sides in (state.keyed or {}).items():
            kept: tuple[list[Timed], list[Timed]] = ([], [])
            for own, side in zip(kept, sides, strict=True):
                for time_s, record in side:
                    self._num += 1
                    own.append((time_s, self._num, record))
            self._kept[key] = kept
