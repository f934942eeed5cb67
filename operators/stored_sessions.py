"""Session windows of more keys than memory has room for. Knows no table but as a port."""

from collections.abc import Hashable
from math import inf, nextafter
from typing import Any

from operators.alarms import Alarms
from operators.due import StoredDues, let_go
from operators.failure import Failures
from operators.sessions import SessionWindows, Span
from operators.sides import Add
from operators.spilled import Spilled
from operators.state import StepState
from operators.stored_early import CountsInSpans
from operators.tables import Table
from operators.timed_state import Fired
from sage.flow.graph import Step
from sage.flow.spec import Window
from sage.flow.windows import Session


class StoredSessions(SessionWindows):
    """`dues`: when to look at sessions of which key; each session knows its own time."""

    def __init__(
        self, step: Step, shape: Session, spec: Window, failures: Failures, late: Add, alarms: Alarms, *, table: Table
    ) -> None:
        super().__init__(step, shape, spec, failures, late, alarms)
        self._kept = self._spilled = Spilled(table, to_row=_row_of, from_row=_of_row)
        self._dues = StoredDues(table)
        self._early = self._counts = CountsInSpans(spec.trigger, alarms, table)
        self._is_letting_go = False

    def advance(self, watermark_s: float | None) -> Fired:
        fired = self._give_changed()
        if watermark_s is not None and watermark_s > self._watermark_s:
            self._watermark_s = watermark_s
            self._is_letting_go = True
        if self._is_letting_go:
            self._let_go(fired)
        if not self._is_letting_go:
            self._give_early(fired)
        self.is_behind = self._is_letting_go or self._counts.is_behind
        self._spilled.trim()
        self._counts.trim()
        return fired

    def _give_early(self, fired: Fired) -> None:
        for key in self._counts.take_part(self._spilled.len_part):
            for span in self._kept.get(key, ()):
                if span.since and not span.is_given:
                    self._give(fired, key, span)
                span.since = 0

    def _let_go(self, fired: Fired) -> None:
        def take(time_s: float, key: Hashable, _: str | None) -> None:
            for span in list(self._kept.get(key, ())):
                if span.due_s <= time_s:
                    self._look_at(key, span, fired)
            self._spilled.trim()

        until_s = nextafter(self._watermark_s, -inf)
        self._is_letting_go = let_go(self._dues, until_s, fired, take, most=self._spilled.len_part)

    def _look_again(self, key: Hashable, span: Span) -> None:
        span.due_s = self._end_s(span) + (self._allow_late_s if span.is_given else 0.0)
        self._dues.push(span.due_s, key, None)

    def snapshot(self) -> StepState:
        self._dues.write()
        self._counts.write()
        return self._spilled.snapshot()

    def restore(self, state: StepState) -> None:
        if state.stored:
            self._spilled.restore(state)
            self._dues.restore()
            self._counts.restore()
        for key, row in (state.keyed or {}).items():
            self._kept[key] = _of_row(row)
            for span in self._kept[key]:
                self._look_again(key, span)
                if span.since:
                    self._counts.add(span, key, 0)
            self._spilled.trim()
            self._counts.trim()


def _row_of(spans: list[Span]) -> tuple[Any, ...]:
    return tuple(each for s in spans for each in (s.first_s, s.last_s, s.value, (s.is_given, s.since, s.due_s)))


def _of_row(row: tuple[Any, ...]) -> list[Span]:
    """Return the sessions of a row; one that memory made says no time to look at them."""
    spans: list[Span] = []
    for first_s, last_s, value, status in zip(*(row[at::4] for at in range(4)), strict=True):
        span = Span(first_s, last_s, value)
        span.is_given, *more = status if isinstance(status, tuple) else (status,)
        span.since = more[0] if more else 0
        span.due_s = more[1] if len(more) == 2 else -inf
        spans.append(span)
    return spans
