"""Joins with a table that changes: each record of the left meets the row that its key had at that time.

Records are `(0, left)` and `(1, row)`. A left waits until the watermark is past it: rows may come after it.
"""

from bisect import bisect_right, insort
from collections.abc import Hashable
from heapq import heappop, heappush
from math import inf
from typing import Any

from operators.sides import Add
from operators.spilled import refuse_stored
from operators.state import SavedRows, StepState
from operators.timed_state import Fired

Timed = tuple[float, int, Any]


class TableJoin:
    """`rows[key]`: those from the last before the watermark on, by time. `waiting`: lefts, the earliest first."""

    def __init__(self, late: Add, *, is_outer: bool) -> None:
        """`is_outer`: a left without a row meets None; else it is left out."""
        self._late = late
        self._is_outer = is_outer
        self._rows: dict[Hashable, list[Timed]] = {}
        self._waiting: list[tuple[float, int, Hashable, Any]] = []
        self._num = 0
        self._watermark_s = -inf
        self._waiting_of: dict[Hashable, list[tuple[float, Any]]] = {}
        self._saved = SavedRows(self._row)
        self.is_behind = False

    def lines(self, number: int, names: dict[str, Any]) -> tuple[list[str], list[str]]:
        names[f"take{number}"] = self._take
        return [], [f"take{number}(x, key, t)"]

    def advance(self, watermark_s: float | None) -> Fired:
        pairs: list[tuple[Any, Any]] = []
        times: list[float] = []
        if watermark_s is None or watermark_s <= self._watermark_s:
            return pairs, times
        self._watermark_s = watermark_s
        while self._waiting and (self._waiting[0][0] < watermark_s or watermark_s == inf):
            time_s, _, key, record = heappop(self._waiting)
            rows = self._forget(key, time_s)
            self._saved.marks.touch(key)
            if rows and rows[0][0] <= time_s:
                pairs.append((record, rows[0][2]))
                times.append(time_s)
            elif self._is_outer:
                pairs.append((record, None))
                times.append(time_s)
        return pairs, times

    def _take(self, tagged: tuple[int, Any], key: Hashable, time_s: float) -> None:
        side, record = tagged
        self._num += 1
        self._saved.marks.touch(key)
        if side:
            insort(self._rows.setdefault(key, []), (time_s, self._num, record))
            self._forget(key, min(self._watermark_s, time_s))
        elif time_s < self._watermark_s:
            self._late(record, time_s)
        else:
            heappush(self._waiting, (time_s, self._num, key, record))

    def _forget(self, key: Hashable, time_s: float) -> list[Timed]:
        """Forget the rows before the one that held at `time_s`: no left that is still to come is earlier."""
        rows = self._rows.get(key, [])
        del rows[: max(0, bisect_right(rows, (time_s, inf)) - 1)]
        return rows

    def value_of(self, key: Hashable) -> dict[str, list[tuple[float, Any]]] | None:
        """Return the records of a key that wait, and the rows that may still be met, with their times."""
        left = sorted((each for each in self._waiting if each[2] == key), key=lambda each: each[:2])
        right = self._rows.get(key, ())
        if not left and not right:
            return None
        return {"left": [(t, record) for t, _, _, record in left], "right": [(t, row) for t, _, row in right]}

    def snapshot(self) -> StepState:
        for time_s, _, key, record in sorted(self._waiting, key=lambda each: each[:2]):
            self._waiting_of.setdefault(key, []).append((time_s, record))
        state = self._saved.snapshot(dict.fromkeys([*self._rows, *self._waiting_of]).keys())
        self._waiting_of.clear()
        return state

    def _row(self, key: Hashable) -> tuple[tuple[tuple[float, Any], ...], tuple[tuple[float, Any], ...]]:
        rows = tuple((time_s, row) for time_s, _, row in self._rows.get(key, ()))
        return rows, tuple(self._waiting_of.get(key, ()))

    def restore(self, state: StepState) -> None:
        refuse_stored(state)
        for key, (rows, waiting) in (state.keyed or {}).items():
            for time_s, row in rows:
                self._num += 1
                self._rows.setdefault(key, []).append((time_s, self._num, row))
            for time_s, record in waiting:
                self._num += 1
                heappush(self._waiting, (time_s, self._num, key, record))
