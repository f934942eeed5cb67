"""Session windows: a key's records that are no more than a gap apart. Knows nothing of batches.

A session is over when the watermark is past its last record by more than the gap: until then a record could still
come that belongs to it.
"""

from collections.abc import Hashable
from heapq import heappop, heappush
from math import inf
from typing import Any

from operators.accumulate import MISSING, added_up, finish_of, join_of, update_lines
from operators.alarms import Alarms
from operators.early import Early
from operators.failure import Failures
from operators.sides import Add
from operators.spilled import refuse_stored
from operators.state import SavedRows, StepState
from operators.timed_state import Fired
from operators.windows import WindowResults
from sage.flow.graph import Step
from sage.flow.spec import Combine, Gather, Window
from sage.flow.windows import Session, WindowResult


class Span:
    """One session. `is_given`: its result left already. `replaces`: those that it joins; None once it is in place.

    `due_s`: where sessions are in a table, the time at which this one is due to be looked at; `since`: how many records
    it has had since it last gave its result.
    """

    __slots__ = ("due_s", "first_s", "is_given", "is_gone", "last_s", "replaces", "since", "value")
    due_s: float

    def __init__(self, first_s: float, last_s: float, value: Any = MISSING) -> None:
        self.first_s = first_s
        self.last_s = last_s
        self.value = value
        self.is_given = False
        self.is_gone = False
        self.since = 0
        self.replaces: list[Span] | None = None


_NEVER = Span(inf, inf)


class SessionWindows:
    """`kept[key]`: its sessions, the earlier first. `due`: when to look at which of them; each stands there once."""

    def __init__(self, step: Step, shape: Session, spec: Window, failures: Failures, late: Add, alarms: Alarms) -> None:
        over = spec.over
        self._late = late
        self._gap_s = shape.gap_s
        self._allow_late_s = spec.allow_late_s
        join, finish = join_of(over), finish_of(over)
        if join is None and isinstance(over, Combine):
            finish = added_up(over)
            over = Gather()
            join = join_of(over)
        self._over = over
        self._join = join
        self._results = WindowResults(step, join, finish, failures, ends_inside=True)
        self._kept: dict[Hashable, list[Span]] = {}
        self._due: list[tuple[float, int, Hashable, Span]] = []
        self._num_due = 0
        self._changed: list[tuple[Hashable, Span]] = []
        self._watermark_s = -inf
        self._early: Early[Span] = Early(spec.trigger, alarms)
        self._rows = SavedRows(self._row)
        self.is_behind = False

    def lines(self, number: int, names: dict[str, Any]) -> tuple[list[str], list[str]]:
        """A record that goes on with its key's last session costs two comparisons."""
        names |= {"NEVER": _NEVER, f"get{number}": self._kept.get}
        names |= {f"late{number}": self._late, f"place{number}": self._place, f"settle{number}": self._settle}
        names |= {f"early{number}": self._came}
        update = update_lines(self._over, number, names, old="w.value", keep="w.value = v")
        names[f"mark{number}"] = self._rows.marks.add
        return [], [
            *([f"mark{number}(key)"] if self._rows.marks.is_on else []),
            f"spans = get{number}(key)",
            "w = spans[-1] if spans else NEVER",
            f"if w.is_given or not w.last_s <= t <= w.last_s + {self._gap_s!r}:",
            f"    w = place{number}(t, key)",
            "    if w is None:",
            f"        late{number}(x, t)",
            "        continue",
            *update,
            "if w.replaces is None: w.last_s = t",
            f"else: settle{number}(key, w)",
            *([f"early{number}(key, w, out)"] if self._early.is_wanted else []),
        ]

    def _row(self, key: Hashable) -> tuple[Any, ...]:
        """Return what is saved of a key: of each session in turn its first and last time, its value, its status."""
        spans = self._kept[key]
        return tuple(each for s in spans for each in (s.first_s, s.last_s, s.value, self._status(key, s)))

    def advance(self, watermark_s: float | None) -> Fired:
        fired = self._give_changed()
        for span, keys in self._early.take_due():
            for key in keys:
                self._rows.marks.touch(key)
                self._give(fired, key, span)
        if watermark_s is None or watermark_s <= self._watermark_s:
            return fired
        self._watermark_s = watermark_s
        while self._due and self._due[0][0] < watermark_s:
            _, _, key, span = heappop(self._due)
            if not span.is_gone:
                self._rows.marks.touch(key)
                self._look_at(key, span, fired)
        return fired

    def _give_changed(self) -> Fired:
        """Give sessions that were given already and have changed since."""
        fired: Fired = ([], [])
        for key, span in self._changed:
            if not span.is_gone:
                self._give(fired, key, span)
        self._changed.clear()
        return fired

    def _look_at(self, key: Hashable, span: Span, fired: Fired) -> None:
        """Give a session, or forget it, where it is time."""
        if not span.is_given and self._end_s(span) < self._watermark_s:
            self._give(fired, key, span)
            span.is_given = True
            self._early.forget(span)
        if self._end_s(span) + self._allow_late_s < self._watermark_s:
            self._forget(key, span)
        else:
            self._look_again(key, span)

    def value_of(self, key: Hashable) -> list[WindowResult[Any, Any]] | None:
        """Return what each session of a key that may still change has so far, the earlier first."""
        spans = self._kept.get(key, ())
        return [self._results.so_far(key, s.first_s, self._end_s(s), (s.value,)) for s in spans] or None

    def snapshot(self) -> StepState:
        return self._rows.snapshot(self._kept.keys())

    def restore(self, state: StepState) -> None:
        refuse_stored(state)
        for key, spans in (state.keyed or {}).items():
            for first_s, last_s, value, status in zip(*(spans[at::4] for at in range(4)), strict=True):
                span = Span(first_s, last_s, value)
                span.is_given, num, *_ = status if isinstance(status, tuple) else (status, 0)
                if num:
                    self._early.add(span, key, num)
                self._kept.setdefault(key, []).append(span)
                self._look_again(key, span)

    def _place(self, time_s: float, key: Hashable) -> Span | None:
        """Return a session that has room for a record of this time, not in place yet; None where it is late."""
        gap_s = self._gap_s
        near = [s for s in self._kept.get(key, ()) if s.first_s - gap_s <= time_s <= s.last_s + gap_s]
        if not near:
            if not time_s + gap_s + self._allow_late_s >= self._watermark_s:
                return None
            span = Span(time_s, time_s)
        else:
            value = near[0].value
            for other in near[1:]:
                assert self._join is not None
                value = self._join(value, other.value)
            span = Span(min(near[0].first_s, time_s), max(near[-1].last_s, time_s), value)
        span.replaces = near
        return span

    def _settle(self, key: Hashable, span: Span) -> None:
        """Put a session in the place of those that it joins."""
        spans = self._kept.setdefault(key, [])
        num = 0
        for old in span.replaces or ():
            spans.remove(old)
            old.is_gone = True
            num += self._early.num_of(old, key)
            self._early.forget(old)
        span.replaces = None
        spans.append(span)
        spans.sort(key=lambda s: s.first_s)
        if self._end_s(span) < self._watermark_s:
            span.is_given = True
            self._changed.append((key, span))
        elif num:
            self._early.add(span, key, num)
        self._look_again(key, span)

    def _came(self, key: Hashable, span: Span, out: list[Any]) -> None:
        """Give the result so far of the session of a record if it has had enough."""
        if not span.is_given and self._early.came(span, key):
            fired: Fired = ([], [])
            self._give(fired, key, span)
            out += fired[0]

    def _status(self, key: Hashable, span: Span) -> bool | tuple[bool, int]:
        return (span.is_given, self._early.num_of(span, key)) if self._early.is_wanted else span.is_given

    def _look_again(self, key: Hashable, span: Span) -> None:
        due_s = self._end_s(span) + (self._allow_late_s if span.is_given else 0.0)
        self._num_due += 1
        heappush(self._due, (due_s, self._num_due, key, span))

    def _give(self, fired: Fired, key: Hashable, span: Span) -> None:
        end_s = self._end_s(span)
        self._results.add(fired, span.first_s, end_s, [(key, (span.value,))])

    def _forget(self, key: Hashable, span: Span) -> None:
        span.is_gone = True
        spans = self._kept[key]
        spans.remove(span)
        if not spans:
            del self._kept[key]

    def _end_s(self, span: Span) -> float:
        return span.last_s + self._gap_s
