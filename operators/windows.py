"""The results of windows: what the parts of each come to, and its time. Knows no shape."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import reduce
from math import nextafter
from typing import Any

from operators.accumulate import Join
from operators.failure import Failures
from operators.timed_state import Fired
from sage.flow.graph import Step
from sage.flow.windows import WindowResult


class WindowResults:
    """Makes results of windows and gives each its timestamp: the last moment of its window.

    `ends_inside`: the end of a window is a moment of it, as of sessions, to which a record at their end belongs; the
    watermark may have come up to it before they are given.
    """

    def __init__(
        self,
        step: Step,
        join: Join | None,
        finish: Callable[[Any], Any] | None,
        failures: Failures,
        *,
        ends_inside: bool = False,
    ) -> None:
        self._step = step
        self._join = join
        self._finish = finish
        self._failures = failures
        self._num = 0
        self._ends_inside = ends_inside

    def add(self, fired: Fired, start_s: float, end_s: float, parts_of_keys: Iterable[tuple[Hashable, Any]]) -> None:
        """Add the result of each key's parts, the earlier first, to `fired`; raises RecordFailed."""
        results, times = fired
        num_before = len(results)
        for key, parts in parts_of_keys:
            self._num += 1
            try:
                value = self._value(parts)
            except Exception:  # noqa: BLE001 - a user's function may raise anything: the step's policy decides
                window = WindowResult(key, start_s, end_s, list(parts))
                tried = self._failures.tried(self._step, window, self._num, self._value, parts)
                if tried is None:
                    continue
                value = tried[0]
            results.append(WindowResult(key, start_s, end_s, value))
        times.extend([end_s if self._ends_inside else _last_moment(end_s)] * (len(results) - num_before))

    def so_far(self, key: Hashable, start_s: float, end_s: float, parts: Sequence[Any]) -> WindowResult[Any, Any]:
        """Return what the result of a window would be now; raises what the user's functions raise."""
        return WindowResult(key, start_s, end_s, self._value(parts))

    def _value(self, parts: Sequence[Any]) -> Any:
        whole = parts[0]
        if len(parts) > 1:
            assert self._join is not None, "what cannot be joined is kept in one part"
            whole = reduce(self._join, parts)
        return whole if self._finish is None else self._finish(whole)


def _last_moment(end_s: float) -> float:
    """Return the latest time before `end_s`: it lies in the window, and no watermark before has passed it."""
    return nextafter(end_s, float("-inf"))
