"""When windows of more keys than memory has room for give what they have so far. Knows no table but as a port.

What is due by the clock is given a part at a time; no record comes meanwhile.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from itertools import islice

from operators.alarms import Alarms
from operators.early import Early, pane_of_counts, window_of_counts
from operators.sessions import Span
from operators.spilled import Spilled
from operators.tables import Table
from sage.flow.windows import Trigger

_PANE = 0


class CountsInPanes(Early[int]):
    """Of windows that have numbers: the counts of each stand in a pane of their own beside those of records.

    `open`: windows that have counts. `due`: those that are to be given; of the first, the keys after `place`.
    """

    def __init__(self, trigger: Trigger | None, alarms: Alarms, spilled: Spilled) -> None:
        super().__init__(trigger, alarms)
        self._spilled = spilled
        self._panes = spilled.table.panes
        self._open: set[int] = set()
        self._due: deque[int] = deque()
        self._place = b""

    @property
    def is_behind(self) -> bool:
        return self._is_due or bool(self._due)

    def _added(self, window: int, key: Hashable, num: int) -> int:
        row = pane_of_counts(window), key
        now = int(self._spilled.get(row, 0)) + num
        self._spilled[row] = now
        self._open.add(window)
        return now

    def _drop(self, window: int, key: Hashable) -> None:
        del self._spilled[pane_of_counts(window), key]

    def take_part(self, most: int) -> Iterator[tuple[int, dict[Hashable, None]]]:
        """Give windows and the keys of which something came, so many at most; they begin anew."""
        if self._is_due:
            self._is_due = False
            self._due = deque(sorted(self._open))
        while self._due and most:
            window = self._due[0]
            pane = pane_of_counts(window)
            self._spilled.write()
            part = list(islice(self._panes.of_pane(pane, self._place), most))
            for _, key, _ in part:
                del self._spilled[pane, key]
            if len(part) < most:
                self._due.popleft()
                self._open.discard(window)
                self._place = b""
            else:
                self._place = part[-1][0]
            most -= len(part)
            yield window, dict.fromkeys(key for _, key, _ in part)

    def forget_over(self, is_over: Callable[[int], bool]) -> None:
        """Forget the windows that are over."""
        over = {pane_of_counts(window) for window in self._open if is_over(window)}
        if not over:
            return
        self._open = {window for window in self._open if not is_over(window)}
        self._spilled.write()
        for pane in over:
            self._panes.forget(pane)
        self._spilled.forget_clean(lambda row: row[0] in over)

    def restore(self) -> None:
        """Go on with the counts that are in the table."""
        windows = map(window_of_counts, self._panes.numbers())
        self._open = {window for window in windows if window is not None}
        if self._open:
            self._watch()


class CountsInSpans(Early[Span]):
    """Of sessions, each of which knows its own count; by the clock, the table says which keys are to be looked at."""

    def __init__(self, trigger: Trigger | None, alarms: Alarms, table: Table) -> None:
        super().__init__(trigger, alarms)
        self._panes = table.panes
        self._keys = Spilled(table, rows=table.panes)
        self._is_giving = False
        self._place = b""

    @property
    def is_behind(self) -> bool:
        return self._is_due or self._is_giving

    def _added(self, window: Span, key: Hashable, num: int) -> int:
        window.since += num
        if self._every_s is not None:
            self._keys[_PANE, key] = True
        return window.since

    def _drop(self, window: Span, key: Hashable) -> None:
        window.since = 0

    def num_of(self, window: Span, key: Hashable) -> int:
        return window.since

    def forget(self, window: Span) -> None:
        window.since = 0

    def take_part(self, most: int) -> list[Hashable]:
        """Return keys of which something may have come, so many at most: they begin anew."""
        if self._is_due:
            self._is_due, self._is_giving = False, True
        if not self._is_giving:
            return []
        self._keys.write()
        part = list(islice(self._panes.of_pane(_PANE, self._place), most))
        self._is_giving = len(part) == most
        self._place = part[-1][0] if self._is_giving else b""
        for _, key, _ in part:
            del self._keys[_PANE, key]
        return [key for _, key, _ in part]

    def trim(self) -> None:
        self._keys.trim()

    def write(self) -> None:
        """Bring the table up to date."""
        self._keys.write()

    def restore(self) -> None:
        """Go on with the keys that are in the table."""
        if self._every_s is not None and next(self._panes.of_pane(_PANE, b""), None) is not None:
            self._watch()
