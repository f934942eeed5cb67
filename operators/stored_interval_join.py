"""Interval joins of more keys than memory has room for. Knows no table but as a port.

What one key holds is one row: to meet a record is to have all of its key at hand.
"""

from collections.abc import Hashable
from math import inf, nextafter
from typing import Any

from operators.due import StoredDues, let_go
from operators.interval_join import IntervalJoin, Timed
from operators.sides import Add
from operators.spilled import Spilled
from operators.state import StepState
from operators.tables import Table
from operators.timed_state import Fired

_Sides = tuple[list[Timed], list[Timed]]
_Row = tuple[tuple[tuple[float, Any], ...], ...]


class StoredIntervalJoin(IntervalJoin):
    """`dues`: when to look at which key for records that have had their time; each stands there once."""

    def __init__(self, before_s: float, after_s: float, late: Add, table: Table) -> None:
        super().__init__(before_s, after_s, late)
        self._kept = self._spilled = Spilled(table, to_row=_row_of, from_row=self._of_row)
        self._dues = StoredDues(table)

    def advance(self, watermark_s: float | None) -> Fired:
        """Forget what has had its time."""
        if watermark_s is not None and watermark_s > self._watermark_s:
            self._watermark_s = watermark_s
            self.is_behind = True
        fired: Fired = ([], [])  # nothing leaves by time
        if self.is_behind:
            until_s = nextafter(self._watermark_s, -inf)
            self.is_behind = let_go(self._dues, until_s, fired, self._forget, most=self._spilled.len_part)
        self._spilled.trim()
        return fired

    def _forget(self, _: float, key: Hashable, __: str | None) -> None:
        self._sweep(key)
        if (sides := self._kept.get(key)) is not None:
            self._look_again(key, sides)
        self._spilled.trim()

    def _begin(self, key: Hashable, side: int, time_s: float) -> _Sides:
        self._dues.push(time_s + self._reach_s[side][1], key, None)
        return super()._begin(key, side, time_s)

    def _look_again(self, key: Hashable, sides: _Sides) -> None:
        """Look when the first record has had its time, or once the watermark has risen: sums of times are rounded."""
        over_s = [side[0][0] + after_s for side, (_, after_s) in zip(sides, self._reach_s, strict=True) if side]
        self._dues.push(max(min(over_s), self._watermark_s), key, None)

    def snapshot(self) -> StepState:
        self._dues.write()
        return self._spilled.snapshot()

    def restore(self, state: StepState) -> None:
        if state.stored:
            self._spilled.restore(state)
            self._dues.restore()
        for key, row in (state.keyed or {}).items():
            sides = self._kept[key] = self._of_row(row)
            self._look_again(key, sides)
            self._spilled.trim()

    def _of_row(self, row: _Row) -> _Sides:
        lefts, rights = row
        return self._numbered(lefts), self._numbered(rights)

    def _numbered(self, side: tuple[tuple[float, Any], ...]) -> list[Timed]:
        first, self._num = self._num + 1, self._num + len(side)
        return [(time_s, first + at, record) for at, (time_s, record) in enumerate(side)]


def _row_of(sides: _Sides) -> _Row:
    return tuple(tuple((time_s, record) for time_s, _, record in side) for side in sides)
