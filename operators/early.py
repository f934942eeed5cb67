"""When windows give what they have so far, before they are over. Knows no shape."""

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from operators.alarms import Alarms
from sage.flow.windows import Trigger

W = TypeVar("W", bound=Hashable)

_BEYOND = 1 << 62
"""Panes of records have lower numbers, and greater ones than its negative."""


class Early(Generic[W]):
    """How many records each window that is not over has had of each key since it last gave its result.

    Triggers as in Flink: by number at once (CountTrigger, over panes that fire and are kept), by the clock all windows
    of the step together.
    """

    def __init__(self, trigger: Trigger | None, alarms: Alarms) -> None:
        trigger = trigger or Trigger()
        self._every_records = trigger.every_records
        self._every_s = trigger.every_s
        self._alarms = alarms
        self._since: dict[W, dict[Hashable, int]] = {}
        self._is_watched = False
        self._is_due = False

    @property
    def is_wanted(self) -> bool:
        return self._every_records is not None or self._every_s is not None

    def came(self, window: W, key: Hashable) -> bool:
        """Count a record of `key`; say whether there are now so many that the result is to be given."""
        num = self.add(window, key, 1)
        if self._every_records is None or num < self._every_records:
            return False
        self._drop(window, key)
        return True

    def add(self, window: W, key: Hashable, num: int) -> int:
        """Count records of `key` that came before; return how many they are now."""
        self._watch()
        return self._added(window, key, num)

    def _added(self, window: W, key: Hashable, num: int) -> int:
        of_keys = self._since.setdefault(window, {})
        of_keys[key] = of_keys.get(key, 0) + num
        return of_keys[key]

    def _drop(self, window: W, key: Hashable) -> None:
        del self._since[window][key]

    def _watch(self) -> None:
        if self._every_s is not None and not self._is_watched:
            self._is_watched = True
            self._alarms.set(self._every_s, self._ring)

    def num_of(self, window: W, key: Hashable) -> int:
        return self._since.get(window, {}).get(key, 0)

    def copies(self) -> dict[W, dict[Hashable, int]]:
        """Return what a snapshot keeps: the counts of keys, by window."""
        return {window: of_keys.copy() for window, of_keys in self._since.items() if of_keys}

    def take_due(self) -> Iterator[tuple[W, dict[Hashable, None]]]:
        """Give, if it is time, each window and the keys of which something came; they begin anew."""
        if self._is_due:
            self._is_due = False
            since, self._since = self._since, {}
            for window, of_keys in since.items():
                yield window, dict.fromkeys(of_keys)

    def forget(self, window: W) -> None:
        self._since.pop(window, None)

    def _ring(self) -> None:
        self._is_watched = False
        self._is_due = True


def pane_of_counts(window: int) -> int:
    """Return the pane of a table in which the counts of a window stand: no records are there.

    >>> [window_of_counts(pane_of_counts(window)) for window in (-7, -1, 0, 7)]
    [-7, -1, 0, 7]
    """
    return window + _BEYOND if window >= 0 else window - _BEYOND


def window_of_counts(pane: int) -> int | None:
    """Return the window whose counts stand in a pane of a table; None: records stand there.

    >>> window_of_counts(-7), window_of_counts(7)
    (None, None)
    """
    if -_BEYOND <= pane < _BEYOND:
        return None
    return pane - _BEYOND if pane > 0 else pane + _BEYOND
