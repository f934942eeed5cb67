"""Windows of a number of records, of more keys than memory has room for. Knows no table but as a port."""

from itertools import islice
from math import inf
from typing import Any

from operators.accumulate import MISSING
from operators.counted import CountedWindows, Filling
from operators.failure import Failures
from operators.spilled import Spilled
from operators.state import StepState
from operators.tables import Table
from operators.timed_state import Fired
from sage.flow.graph import Step
from sage.flow.spec import Over
from sage.flow.windows import CountWindow


class StoredCountedWindows(CountedWindows):
    """`given`: up to which place in the table windows were given at the end; None: all were."""

    def __init__(self, step: Step, shape: CountWindow, over: Over, failures: Failures, table: Table) -> None:
        super().__init__(step, shape, over, failures)
        self._kept = self._spilled = Spilled(table, to_row=_row_of, from_row=_of_row)
        self._given: bytes | None = b""

    def advance(self, watermark_s: float | None) -> Fired:
        self._spilled.trim()
        if self._given is None or not (watermark_s == inf or self.is_behind):
            return [], []
        part = list(islice(self._spilled.after(self._given), self._spilled.len_part))
        self.is_behind = bool(part)
        self._given = part[-1][0] if part else None
        for _, key, _ in part:
            del self._kept[key]
        return self._give_all((key, window) for _, key, window in part)

    def snapshot(self) -> StepState:
        return self._spilled.snapshot()

    def restore(self, state: StepState) -> None:
        self._spilled.restore(state)
        for key, row in (state.keyed or {}).items():
            self._kept[key] = _of_row(row)
            self._spilled.trim()


def _row_of(window: Filling) -> tuple[Any, ...]:
    return window.start, window.num, window.value if window.num else None, window.time_s


def _of_row(row: tuple[Any, ...]) -> Filling:
    window = Filling()
    window.start, window.num, value, window.time_s = row
    window.value = value if window.num else MISSING
    return window
