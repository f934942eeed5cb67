"""Tumbling and sliding windows: records fall into panes, and each window is made of as many panes as it covers.

Knows nothing of batches. A pane is the greatest length of which both the size and the slide are multiples. Where parts
cannot be joined, every window that covers a record keeps it for itself.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from fractions import Fraction
from math import gcd, inf, isfinite
from typing import Any

from operators.accumulate import finish_of, join_of, update_lines
from operators.alarms import Alarms
from operators.early import Early, window_of_counts
from operators.failure import Failures
from operators.given import Given, given_from
from operators.marks import Marks
from operators.sides import Add
from operators.spilled import refuse_stored
from operators.state import StepState
from operators.timed_state import Fired
from operators.windows import WindowResults
from sage.flow.graph import Step
from sage.flow.spec import Aggregate, Window
from sage.flow.windows import Sliding, Tumbling, WindowResult

Values = dict[Hashable, Any]
SINCE = "since "


class AlignedWindows:
    """`kept[pane]`, or where windows keep for themselves `kept[first pane of the window]`, is what each key has there.

    A window is known by its first pane. `before`: how far each instance was that this one goes on from, where they gave
    windows key by key; `behind_s`: by which watermark one of them had given all.
    """

    def __init__(
        self, step: Step, shape: Tumbling | Sliding, spec: Window, failures: Failures, late: Add, alarms: Alarms
    ) -> None:
        over = spec.over
        self._late = late
        every_s = shape.size_s if isinstance(shape, Tumbling) else shape.every_s
        self._pane_s = _common_length(shape.size_s, every_s)
        self._num_panes = round(shape.size_s / self._pane_s)
        self._num_between = round(every_s / self._pane_s)
        self._is_shared = self._num_panes == self._num_between or join_of(over) is not None
        self._over = over
        self._allow_late_s = spec.allow_late_s
        self._results = WindowResults(step, join_of(over), finish_of(over), failures)
        self._kept: dict[int, Values] = {}
        self._watermark_s = -inf
        self._next_end_s = inf
        self._changed: dict[int, dict[Hashable, None]] = {}
        self._early: Early[int] = Early(spec.trigger, alarms)
        self._marks: dict[int, Marks] | None = None
        self.marks: tuple[Callable[[Hashable], None], ...] = ()
        self.is_behind = False
        self._before: list[Given] = []
        self._behind_s = -inf

    def lines(self, number: int, names: dict[str, Any]) -> tuple[list[str], list[str]]:
        """Within one pane a record costs a comparison of its time; the pane's dicts stay at hand."""
        names |= {f"enter{number}": self._enter, f"late{number}": self._late, f"early{number}": self._came}
        enter = [
            f"if not lo{number} <= t < hi{number}:",
            f"    kept{number}, lo{number}, hi{number} = enter{number}(t, key)",
            f"    if not kept{number}:",
            f"        late{number}(x, t)",
            "        continue",
        ]
        head = [f"lo{number} = hi{number} = 0.0", f"kept{number} = ()"]
        mark: list[str] = []
        if self._marks is not None:  # keys are marked in the panes that the record is kept in
            names[f"windows{number}"] = self
            head.append(f"marks{number} = ()")
            enter.append(f"    marks{number} = windows{number}.marks")
            mark = [f"for mark in marks{number}: mark(key)"]
        behind = [f"early{number}(t, key, out)"] if self._early.is_wanted else []
        if self._is_shared:
            take = [f"    d{number}, = kept{number}", f"    get{number} = d{number}.get"]
            old, keep = f"get{number}(key, {{}})", f"d{number}[key] = v"
            update = update_lines(self._over, number, names, old=old, keep=keep)
            return head, [*enter, *take, *mark, *update, *behind]
        update = update_lines(self._over, number, names, old="d.get(key, {})", keep="new.append(v)", gives_value=True)
        each = ["new = []", f"for d in kept{number}:", *(f"    {line}" for line in update)]
        return head, [*enter, *mark, *each, f"for d, v in zip(kept{number}, new): d[key] = v", *behind]

    def advance(self, watermark_s: float | None) -> Fired:
        fired: Fired = ([], [])
        for window, keys in sorted(self._changed.items()):
            self._fire(window, fired, keys)
        self._changed.clear()
        if self._before:
            watermark_s = max(self._behind_s, self._watermark_s if watermark_s is None else watermark_s)
        for window, keys in self._early.take_due():
            self._fire(window, fired, keys)
        if watermark_s is None or watermark_s <= self._watermark_s:
            return fired
        before_s, self._watermark_s = self._watermark_s, watermark_s
        if watermark_s >= self._next_end_s:
            for window in self._open():
                if before_s < self._end_s(window) <= watermark_s:
                    self._fire(window, fired, None)
                    self._early.forget(window)
            self._next_end_s = min(map(self._end_s, self._unfired()), default=inf)
        if self._kept:
            self._forget()
        self._forget_before(watermark_s)
        return fired

    def snapshot(self) -> StepState:
        """Each of `kept` is a pane, and so is what came since a window gave results early; heard is `_last_given`.

        What is counted, summed up or the like is known to have changed by being another object: the loop marks nothing.
        """
        kept = {str(home): values.copy() for home, values in self._kept.items()}
        since = {f"{SINCE}{window}": of_keys for window, of_keys in self._early.copies().items()}
        last_given = self._last_given(self._watermark_s)
        heard = [*([] if last_given is None else [last_given]), *map(tuple, self._before)]
        return StepState(panes=kept | since, heard=heard, touched=self._touched())

    def value_of(self, key: Hashable) -> list[WindowResult[Any, Any]] | None:
        """Return what each window of a key that may still change has so far, the earlier first."""
        found: list[WindowResult[Any, Any]] = []
        for window in self._open():
            parts = [values[key] for home in self._homes(window) if key in (values := self._kept.get(home, {}))]
            if parts and self._end_s(window) + self._allow_late_s > self._watermark_s:
                found.append(self._results.so_far(key, window * self._pane_s, self._end_s(window), parts))
        return found or None

    def _touched(self) -> dict[str, frozenset[Hashable]]:
        if isinstance(self._over, Aggregate):
            return {}
        if self._marks is None:
            self._marks = {}
        touched = {str(home): self._marks.setdefault(home, Marks()).take() for home in self._kept}
        return {home: keys for home, keys in touched.items() if keys is not None}

    def restore(self, state: StepState) -> None:
        """Take each key's values; of what was heard, the last window whose results were given counts."""
        refuse_stored(state)
        given_s, self._behind_s = self._hear(state.heard)
        self._watermark_s = given_s
        for pane, values in state.panes.items():
            window = int(pane.removeprefix(SINCE)) if pane.startswith(SINCE) else window_of_counts(int(pane))
            if window is None:
                self._kept |= {int(pane): dict(values)} if values else {}
            elif self._end_s(window) > self._behind_s:  # else it is given whole before all else
                for key, num in values.items():
                    self._early.add(window, key, num)
        self._next_end_s = min(map(self._end_s, self._unfired()), default=inf)

    def _hear(self, heard: Iterable[Any]) -> tuple[float, float]:
        """Return by which watermarks the last and the first of the instances before this one had given all.

        A number is the last window that all of them had given.
        """
        self._before = given_from(heard)
        by_all_s = max((self._end_s(each) for each in heard if isinstance(each, int)), default=-inf)
        ends_s = [-inf if given.last is None else self._end_s(given.last) for given in self._before]
        return max(by_all_s, min(ends_s, default=-inf)), max(by_all_s, *ends_s, -inf)

    def _was_given(self, window: int, key: Hashable) -> bool:
        """Say whether an instance before this one has given a key's result."""
        return bool(self._before) and any(given.includes(window, key) for given in self._before)

    def _forget_before(self, watermark_s: float) -> None:
        """Forget of those before what all windows up to the watermark have been given beyond."""
        if self._before:
            newest = [(given, given.newest) for given in self._before]
            self._before = [
                given for given, window in newest if window is not None and self._end_s(window) > watermark_s
            ]

    def _last_given(self, watermark_s: float) -> int | None:
        """Return the last window that is over: it changes more seldom than the watermark, and says as much."""
        if not isfinite(watermark_s):
            return None
        last = self._pane(watermark_s) - self._num_panes
        return last // self._num_between * self._num_between

    def _enter(self, time_s: float, key: Hashable) -> tuple[tuple[Values, ...], float, float]:
        """Return where a record of this time is kept, and from when to when others are kept there too."""
        pane = self._pane(time_s)
        first, last = self._windows_of(pane)
        is_open = self._end_s(first) > self._watermark_s
        if not is_open and self._end_s(last) + self._allow_late_s <= self._watermark_s:
            return (), 0.0, 0.0
        homes = [pane] if self._is_shared else self._still_kept(first, last)
        for home in homes:
            if home not in self._kept:
                self._kept[home] = self._new_pane(home)
                self._next_end_s = min(self._next_end_s, self._next_end_of(first, last))
        dicts = tuple(self._kept[home] for home in homes)
        if self._marks is not None:
            self.marks = tuple(self._marks_of(home) for home in homes)
        if is_open or not self._allow_late_s:
            return dicts, pane * self._pane_s, (pane + 1) * self._pane_s
        for window in self._still_kept(first, last):
            if self._end_s(window) <= self._watermark_s:
                self._changed.setdefault(window, {})[key] = None
        return dicts, 0.0, 0.0

    def _new_pane(self, home: int) -> Values:
        return {}

    def _came(self, time_s: float, key: Hashable, out: list[Any]) -> None:
        """Give the results so far of those windows of a record that have had enough of its key."""
        first, last = self._windows_of(self._pane(time_s))
        for window in range(first, last + 1, self._num_between):
            if self._end_s(window) > self._watermark_s and self._early.came(window, key):
                fired: Fired = ([], [])
                self._fire(window, fired, {key: None})
                out += fired[0]

    def _fire(self, window: int, fired: Fired, keys: dict[Hashable, None] | None) -> None:
        """Give the result of each key, or of `keys` alone."""
        parts = [part for home in self._homes(window) if (part := self._kept.get(home)) is not None]
        if not parts:
            return
        if len(parts) == 1 and keys is None:
            rows: Iterator[tuple[Hashable, Any]] = ((key, (value,)) for key, value in parts[0].items())
        else:
            wanted = dict.fromkeys(key for part in parts for key in part) if keys is None else keys
            found = ((key, tuple(part[key] for part in parts if key in part)) for key in wanted)
            rows = ((key, of_key) for key, of_key in found if of_key)
        if self._before and keys is None:
            rows = ((key, of_key) for key, of_key in rows if not self._was_given(window, key))
        self._results.add(fired, window * self._pane_s, self._end_s(window), rows)

    def _forget(self) -> None:
        for home in self._past():
            del self._kept[home]
            if self._marks is not None:
                self._marks.pop(home, None)

    def _past(self) -> list[int]:
        """Return which of `kept` no window can need any more."""
        return [
            home
            for home in self._kept
            if self._end_s(self._windows_of(home)[1] if self._is_shared else home) + self._allow_late_s
            <= self._watermark_s
        ]

    def _marks_of(self, home: int) -> Callable[[Hashable], None]:
        """Return what marks keys of a pane; one that is new since the last snapshot has marks from its beginning."""
        assert self._marks is not None
        if home not in self._marks:
            self._marks[home] = Marks()
            self._marks[home].take()
        return self._marks[home].add

    # Panes and windows.

    def _pane(self, time_s: float) -> int:
        """Return the pane of a time; a product rounds otherwise than a quotient, and the product is what counts."""
        pane = int(time_s // self._pane_s)
        if time_s < pane * self._pane_s:
            return pane - 1
        return pane + 1 if time_s >= (pane + 1) * self._pane_s else pane

    def _windows_of(self, pane: int) -> tuple[int, int]:
        """Return the first and the last window that cover a pane."""
        between = self._num_between
        return -((self._num_panes - 1 - pane) // between) * between, pane // between * between

    def _still_kept(self, first: int, last: int) -> list[int]:
        allow_s, watermark_s = self._allow_late_s, self._watermark_s
        windows = range(first, last + 1, self._num_between)
        return [window for window in windows if self._end_s(window) + allow_s > watermark_s]

    def _next_end_of(self, first: int, last: int) -> float:
        ends = map(self._end_s, range(first, last + 1, self._num_between))
        return min((end_s for end_s in ends if end_s > self._watermark_s), default=inf)

    def _unfired(self) -> list[int]:
        return [window for window in self._open() if self._end_s(window) > self._watermark_s]

    def _open(self) -> list[int]:
        """Return every window that something is kept of, in order."""
        if not self._is_shared:
            return sorted(self._kept)
        return sorted({w for pane in self._kept for w in range(*self._span(pane), self._num_between)})

    def _span(self, pane: int) -> tuple[int, int]:
        first, last = self._windows_of(pane)
        return first, last + 1

    def _homes(self, window: int) -> range:
        return range(window, window + (self._num_panes if self._is_shared else 1))

    def _end_s(self, window: int) -> float:
        return (window + self._num_panes) * self._pane_s


def _common_length(size_s: float, every_s: float) -> float:
    """Return the greatest length that divides both, as they are written: 0.3 and 0.2 have 0.1."""
    if size_s == every_s:
        return size_s
    size, every = Fraction(str(size_s)), Fraction(str(every_s))
    numerator = gcd(size.numerator * every.denominator, every.numerator * size.denominator)
    common = Fraction(numerator, size.denominator * every.denominator)
    return common.numerator if common.denominator == 1 else float(common)
