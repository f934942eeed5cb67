"""Tumbling and sliding windows of more keys than memory has room for. Knows no table but as a port.

A window gives its keys in the order of the table, a part at a time. What is saved meanwhile says how far it is.
"""

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import replace
from heapq import merge
from itertools import groupby, islice
from math import inf
from operator import itemgetter
from typing import Any

from operators.alarms import Alarms
from operators.aligned import SINCE, AlignedWindows, Values
from operators.early import pane_of_counts, window_of_counts
from operators.failure import Failures
from operators.given import Given
from operators.sides import Add
from operators.spilled import Spilled
from operators.state import StepState
from operators.stored_early import CountsInPanes
from operators.tables import Table
from operators.timed_state import Fired
from sage.flow.graph import Step
from sage.flow.spec import Window
from sage.flow.windows import Sliding, Tumbling

_MAX_PANE = 1 << 61


class _Pane(dict[Hashable, Any]):
    """What each key has in one pane: for whoever takes it for a dict."""

    def __init__(self, pane: int, spilled: Spilled) -> None:
        super().__init__()
        self._pane = pane
        self._spilled = spilled
        self._get = spilled.get

    def get(self, key: Hashable, default: Any = None) -> Any:
        return self._get((self._pane, key), default)

    def __getitem__(self, key: Hashable) -> Any:
        return self._spilled[self._pane, key]

    def __setitem__(self, key: Hashable, value: Any) -> None:
        self._spilled[self._pane, key] = value

    def __contains__(self, key: object) -> bool:
        return (self._pane, key) in self._spilled


class StoredAlignedWindows(AlignedWindows):
    """`ready`: windows that the watermark has passed and that are not given yet; `place`: how far the first is given.

    `given_s`: a watermark by which all was given.
    """

    def __init__(
        self,
        step: Step,
        shape: Tumbling | Sliding,
        spec: Window,
        failures: Failures,
        late: Add,
        alarms: Alarms,
        *,
        table: Table,
    ) -> None:
        super().__init__(step, shape, spec, failures, late, alarms)
        self._table = table
        self._spilled = Spilled(table, rows=table.panes)
        self._counts = self._early = CountsInPanes(spec.trigger, alarms, self._spilled)
        self._ready: deque[int] = deque()
        self._place = b""
        self._given_s = -inf
        self._is_giving = False

    def advance(self, watermark_s: float | None) -> Fired:
        fired: Fired = ([], [])
        for window, keys in sorted(self._changed.items()):
            self._fire(window, fired, keys)
        self._changed.clear()
        if watermark_s is not None and watermark_s > self._watermark_s:
            self._watermark_s = watermark_s
            self._begin_to_give()
        if self._is_giving:
            self._give_part(fired)
        if not self._is_giving:
            for window, keys in self._counts.take_part(self._spilled.len_part):
                self._fire(window, fired, keys)
        self.is_behind = self._is_giving or self._counts.is_behind
        self._spilled.trim()
        return fired

    def _begin_to_give(self) -> None:
        self._is_giving = True
        if self._watermark_s >= self._next_end_s:
            over = (window for window in self._open() if self._given_s < self._end_s(window) <= self._watermark_s)
            self._ready = deque(over)

    def _give_part(self, fired: Fired) -> None:
        """Give so many keys as may be at hand at once, of the first windows that are over; then forget what is past."""
        num_left = self._spilled.len_part
        while self._ready and num_left:
            window = self._ready[0]
            part = list(islice(self._rows_of(window), num_left))
            rows = ((key, parts) for _, key, parts in part)
            self._results.add(fired, window * self._pane_s, self._end_s(window), rows)
            if len(part) < num_left:
                self._ready.popleft()
                self._place, self._given_s = b"", self._end_s(window)
            else:
                self._place = part[-1][0]
            num_left -= len(part)
        if not self._ready:
            self._is_giving, self._given_s = False, self._watermark_s
            self._forget_before(self._given_s)
            self._next_end_s = min(map(self._end_s, self._unfired()), default=inf)
            self._forget()
            self._counts.forget_over(lambda window: self._end_s(window) <= self._given_s)

    def _rows_of(self, window: int) -> Iterator[tuple[bytes, Hashable, tuple[Any, ...]]]:
        """Return the rows of a window that are not given: the place of each key, the key, and its parts in order."""
        self._spilled.write()
        panes = [self._table.panes.of_pane(home, self._place) for home in self._homes(window) if home in self._kept]
        for place, rows in groupby(merge(*panes, key=itemgetter(0)), key=itemgetter(0)):
            (_, key, first), *others = rows
            if not self._was_given(window, key):
                yield place, key, (first, *(part for _, _, part in others))

    def _forget(self) -> None:
        past = set(self._past())
        if not past:
            return
        self._spilled.write()
        for home in past:
            del self._kept[home]
            self._table.panes.forget(home)
        self._spilled.forget_clean(lambda key: key[0] in past)

    def _new_pane(self, home: int) -> Values:
        if not -_MAX_PANE < home < _MAX_PANE:
            raise ValueError(f"{home * self._pane_s!r} is too far from epoch 0 for a window of {self._pane_s!r} s")
        return _Pane(home, self._spilled)

    # What is saved.

    def snapshot(self) -> StepState:
        """Heard is how far this instance is with what it gives, and how far those before it were."""
        begun = self._ready[0] if self._ready and self._place else None
        given = Given(*self._table.share, self._last_given(self._given_s), begun, self._place)
        return replace(self._spilled.snapshot(), heard=[tuple(each) for each in (given, *self._before)])

    def restore(self, state: StepState) -> None:
        """Take panes of a table, or those that were held in memory: then all instances had given the same windows."""
        self._spilled.restore(state)
        for pane, values in state.panes.items():
            is_count = pane.startswith(SINCE)
            number = pane_of_counts(int(pane.removeprefix(SINCE))) if is_count else int(pane)
            for key, value in values.items():
                self._spilled[number, key] = value
                self._spilled.trim()
        self._spilled.write()
        panes = (pane for pane in self._table.panes.numbers() if window_of_counts(pane) is None)
        self._kept = {pane: self._new_pane(pane) for pane in panes}
        self._counts.restore()
        self._given_s, self._watermark_s = self._hear(state.heard)
        self._next_end_s = min((e for e in map(self._end_s, self._open()) if e > self._given_s), default=inf)
        if self._given_s < self._watermark_s:
            self._begin_to_give()
