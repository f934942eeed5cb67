"""Joins with a table that changes, of more keys than memory has room for. Knows no table of rows but as a port."""

from bisect import bisect_right, insort
from collections.abc import Hashable
from dataclasses import dataclass, field
from math import inf, nextafter
from typing import Any

from operators.due import StoredDues, let_go
from operators.sides import Add
from operators.spilled import Spilled
from operators.state import StepState
from operators.table_join import Timed
from operators.tables import Table
from operators.timed_state import Fired


@dataclass(slots=True)
class _OfKey:
    """`rows`: those from the last before the watermark on. `waiting`: lefts. Both by time."""

    rows: list[Timed] = field(default_factory=list)
    waiting: list[Timed] = field(default_factory=list)


_Row = tuple[tuple[tuple[float, Any], ...], ...]


class StoredTableJoin:
    """`kept`: what each key has. `dues`: the times at which lefts wait."""

    def __init__(self, late: Add, table: Table, *, is_outer: bool) -> None:
        """`is_outer`: a left without a row meets None; else it is left out."""
        self._late = late
        self._is_outer = is_outer
        self._kept = Spilled(table, to_row=_row_of, from_row=self._of_row)
        self._dues = StoredDues(table)
        self._num = 0
        self._watermark_s = -inf
        self.is_behind = False

    def lines(self, number: int, names: dict[str, Any]) -> tuple[list[str], list[str]]:
        names[f"take{number}"] = self._take
        return [], [f"take{number}(x, key, t)"]

    def advance(self, watermark_s: float | None) -> Fired:
        fired: Fired = ([], [])
        if watermark_s is not None and watermark_s > self._watermark_s:
            self._watermark_s = watermark_s
            self.is_behind = True
        if self.is_behind:
            self._let_go(fired)
        self._kept.trim()
        return fired

    def _let_go(self, fired: Fired) -> None:
        def take(time_s: float, key: Hashable, _: str | None) -> None:
            self._meet(time_s, key, fired)
            self._kept.trim()

        until_s = nextafter(self._watermark_s, -inf)
        self.is_behind = let_go(self._dues, until_s, fired, take, most=self._kept.len_part)

    def _meet(self, time_s: float, key: Hashable, fired: Fired) -> None:
        """Let the lefts of a key go that waited for the watermark to be past this time."""
        own: _OfKey | None = self._kept.get(key)
        if own is None:
            return
        num = bisect_right(own.waiting, (time_s, inf))
        for left_s, _, record in own.waiting[:num]:
            _forget(own.rows, left_s)
            is_met = own.rows and own.rows[0][0] <= left_s
            if is_met or self._is_outer:
                fired[0].append((record, own.rows[0][2] if is_met else None))
                fired[1].append(left_s)
        del own.waiting[:num]
        if not own.waiting and not own.rows:
            del self._kept[key]

    def _take(self, tagged: tuple[int, Any], key: Hashable, time_s: float) -> None:
        side, record = tagged
        if not side and time_s < self._watermark_s:
            self._late(record, time_s)
            return
        own: _OfKey | None = self._kept.get(key)
        if own is None:
            own = self._kept[key] = _OfKey()
        self._num += 1
        if side:
            insort(own.rows, (time_s, self._num, record))
            _forget(own.rows, min(self._watermark_s, time_s))
        else:
            insort(own.waiting, (time_s, self._num, record))
            self._dues.push(time_s, key, None)

    def value_of(self, key: Hashable) -> dict[str, list[tuple[float, Any]]] | None:
        """Return the records of a key that wait, and the rows that may still be met, with their times."""
        own: _OfKey | None = self._kept.get(key)
        if own is None:
            return None
        sides = zip(("left", "right"), (own.waiting, own.rows), strict=True)
        return {name: [(t, record) for t, _, record in side] for name, side in sides}

    def snapshot(self) -> StepState:
        self._dues.write()
        return self._kept.snapshot()

    def restore(self, state: StepState) -> None:
        if state.stored:
            self._kept.restore(state)
            self._dues.restore()
        for key, row in (state.keyed or {}).items():
            own = self._kept[key] = self._of_row(row)
            for time_s, _, _ in own.waiting:
                self._dues.push(time_s, key, None)
            self._kept.trim()

    def _of_row(self, row: _Row) -> _OfKey:
        rows, waiting = row
        return _OfKey(self._numbered(rows), self._numbered(waiting))

    def _numbered(self, side: tuple[tuple[float, Any], ...]) -> list[Timed]:
        first, self._num = self._num + 1, self._num + len(side)
        return [(time_s, first + at, record) for at, (time_s, record) in enumerate(side)]


def _row_of(own: _OfKey) -> _Row:
    return tuple(tuple((time_s, record) for time_s, _, record in side) for side in (own.rows, own.waiting))


def _forget(rows: list[Timed], time_s: float) -> None:
    """Forget the rows before the one that held at `time_s`: no left that is still to come is earlier."""
    del rows[: max(0, bisect_right(rows, (time_s, inf)) - 1)]
