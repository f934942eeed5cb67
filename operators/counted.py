"""TimedState of a number of records. Knows nothing of time but what the records carry."""

from collections.abc import Hashable, Iterable
from math import inf
from typing import Any

from operators.accumulate import MISSING, finish_of, update_lines
from operators.failure import Failures
from operators.spilled import refuse_stored
from operators.state import SavedRows, StepState
from operators.timed_state import Fired
from sage.flow.graph import Step
from sage.flow.spec import Over
from sage.flow.windows import CountWindow, WindowResult


class Filling:
    """One key's window. `start`: how many records the windows before it had; `time_s`: of its last record."""

    __slots__ = ("num", "start", "time_s", "value")

    def __init__(self) -> None:
        self.num = 0
        self.start = 0
        self.value: Any = MISSING
        self.time_s: float | None = None


class CountedWindows:
    """A window gives its result with its last record; what is not full gives it at the end of the stream."""

    def __init__(self, step: Step, shape: CountWindow, over: Over, failures: Failures) -> None:
        self._step = step
        self._num_records = shape.num_records
        self._over = over
        self._finish = finish_of(over)
        self._failures = failures
        self._kept: dict[Hashable, Filling] = {}
        self._num_results = 0
        self._rows = SavedRows(self._row)
        self.is_behind = False

    def lines(self, number: int, names: dict[str, Any]) -> tuple[list[str], list[str]]:
        names |= {f"get{number}": self._kept.get, f"begin{number}": self._begin, f"full{number}": self._full}
        update = update_lines(self._over, number, names, old="w.value", keep="w.value = v")
        names[f"mark{number}"] = self._rows.marks.add
        return [], [
            *([f"mark{number}(key)"] if self._rows.marks.is_on else []),
            f"w = get{number}(key)",
            f"if w is None: w = begin{number}(key)",
            *update,
            "w.num += 1",
            "w.time_s = t",
            f"if w.num == {self._num_records}: full{number}(key, w, out)",
        ]

    def advance(self, watermark_s: float | None) -> Fired:
        return self._give_all(self._kept.items()) if watermark_s == inf else ([], [])

    def _give_all(self, windows: Iterable[tuple[Hashable, Filling]]) -> Fired:
        """Give what the windows of these keys have, though they are not full."""
        results: list[WindowResult[Any, Any]] = []
        times: list[float] = []
        for key, window in windows:
            if window.num:
                self._rows.marks.touch(key)
                self._full(key, window, results)
                times += [] if window.time_s is None else [window.time_s] * (len(results) - len(times))
        return results, times

    def value_of(self, key: Hashable) -> list[WindowResult[Any, Any]] | None:
        """Return what the window of a key has so far; None where it has no record yet."""
        window = self._kept.get(key)
        if window is None or not window.num:
            return None
        value = window.value if self._finish is None else self._finish(window.value)
        return [WindowResult(key, window.start, window.start + window.num, value)]

    def snapshot(self) -> StepState:
        return self._rows.snapshot(self._kept.keys())

    def _row(self, key: Hashable) -> tuple[Any, ...] | None:
        w = self._kept[key]
        return (w.start, w.num, w.value if w.num else None, w.time_s) if w.num or w.start else None

    def restore(self, state: StepState) -> None:
        refuse_stored(state)
        for key, (start, num, value, time_s) in (state.keyed or {}).items():
            window = self._begin(key)
            window.start, window.num, window.time_s = start, num, time_s
            window.value = value if num else MISSING

    def _begin(self, key: Hashable) -> Filling:
        window = self._kept[key] = Filling()
        return window

    def _full(self, key: Hashable, window: Filling, out: list[Any]) -> None:
        start, end, value = window.start, window.start + window.num, window.value
        window.start, window.num, window.value = end, 0, MISSING
        self._num_results += 1
        if self._finish is not None:
            shown = WindowResult(key, start, end, value)
            tried = self._failures.tried(self._step, shown, self._num_results, self._finish, value)
            if tried is None:
                return
            value = tried[0]
        out.append(WindowResult(key, start, end, value))
