"""Runs a keyed process: gives it the state of the key at hand, fires its timers. Knows no batch and no clock."""

from collections.abc import Callable, Hashable, Iterable
from functools import partial
from math import inf, isfinite
from sys import maxsize
from typing import Any

from operators.alarms import Alarms
from operators.due import Dues, DuesInMemory, StoredDues, let_go
from operators.failure import Failures
from operators.listed import ONE_RECORD, listed
from operators.own_state import OwnRow, OwnState, own_of_row, row_of_own
from operators.sides import Sides
from operators.spilled import Spilled, refuse_stored
from operators.state import SavedRows, StepState
from operators.tables import Table
from operators.timed_state import Fired
from operators.undoing import Before
from sage.flow.declared_states import declared_states
from sage.flow.graph import OnError, Step
from sage.flow.process import KeyedProcess, Store


class _Context(Store):
    """The key at hand: what the process and its states see. A generated loop sets `own`, `current`, `key`, `time_s`."""

    def __init__(self, processing: "Processing") -> None:
        super().__init__()
        self._processing = processing
        self.own = OwnState()
        self.key: Any = None
        self.time_s: float | None = None

    @property
    def watermark_s(self) -> float:
        return self._processing.watermark_s

    def set_timer(self, time_s: float) -> None:
        self._processing.needs("on_timer", "set_timer")
        self._processing.set_timer(self.key, self.own, time_s)

    def drop_timer(self, time_s: float) -> None:
        self.own.timers.discard(time_s)
        self.forgotten()

    def set_alarm(self, after_s: float) -> None:
        self._processing.needs("on_alarm", "set_alarm")
        self._processing.set_alarm(self.key, after_s)

    def drop_alarm(self) -> None:
        self._processing.drop_alarm(self.key)
        self.forgotten()

    def aside(self, tag: str, record: Any) -> None:
        self._processing.aside(tag, record, self.time_s)

    def forgotten(self) -> None:
        self._processing.look_at(self.key)

    def look_at(self, name: str) -> None:
        if self.time_s is not None and self.own.expiry_s.get(name, inf) <= self.time_s:
            self.own.values.pop(name, None)  # it goes with the watermark, which may not be there yet

    def written(self, name: str, ttl_s: float) -> None:
        now_s = self.watermark_s if self.time_s is None else max(self.time_s, self.watermark_s)
        self._processing.expire(self.key, self.own, name, now_s + ttl_s)


class Processing:
    """The state of all keys; `due` are times at which a timer fires or a value expires.

    `ringing`: the alarm of each key that has one: its number, and after how many seconds it rings.
    """

    def __init__(
        self,
        step: Step,
        process: KeyedProcess[Any, Any, Any],
        failures: Failures,
        sides: Sides,
        alarms: Alarms,
        table: Table | None = None,
    ) -> None:
        """`table`: where keys are that memory has no room for; None: all are held in memory."""
        self._step = step
        self._process = process
        self._failures = failures
        self._sides = sides
        self._alarms = alarms
        self._context = process._store = _Context(self)
        self._declared = {name for name, _ in declared_states(type(process))}
        of_row = partial(own_of_row, declared=self._declared)
        self._spilled = None if table is None else Spilled(table, to_row=row_of_own, from_row=of_row)
        self._stored_dues = None if table is None else StoredDues(table)
        self._kept: dict[Hashable, OwnState] = {} if self._spilled is None else self._spilled
        self._due: Dues = self._stored_dues or DuesInMemory()
        self._ringing: dict[Hashable, tuple[int, float]] = {}
        self._perhaps_empty: list[Hashable] = []
        self._rung: Fired = ([], [])
        self._has_ended = False
        self._rows = SavedRows(self._row)
        self.watermark_s = -inf
        self._before_s = -inf
        self.is_behind = False

    def lines(self, number: int, names: dict[str, Any]) -> tuple[list[str], list[str]]:
        context, on_record = f"context{number}", f"on_record{number}"
        names |= {context: self._context, on_record: self._on_record()}
        names |= {f"get{number}": self._kept.get, f"begin{number}": self._begin}
        names |= {f"mark{number}": self._rows.marks.add, "ONE_RECORD": ONE_RECORD, f"listed{number}": self._listed}
        return [], [
            *([f"mark{number}(key)"] if self._rows.marks.is_on else []),
            f"w = get{number}(key)",
            f"if w is None: w = begin{number}(key)",
            f"{context}.own = w",
            f"{context}.current = w.values",
            f"{context}.key = key",
            f"{context}.time_s = t",
            f"found = {on_record}({self._record()}, {context})",
            f"if found is not None: out.extend(found if type(found) not in ONE_RECORD else listed{number}(found))",
        ]

    def _on_record(self) -> Callable[[Any, _Context], Iterable[Any] | None]:
        """Return what is called with each record; only a step that goes on after a failure takes back what it did."""
        on_record = self._process.on_record
        is_final = self._step.on_error is OnError.FAIL
        return on_record if is_final else lambda record, context: self._called(lambda: on_record(record, context))

    def _record(self) -> str:
        """Return what a record is to the process, where `x` came to the step."""
        return "x"

    def _listed(self, found: Iterable[Any]) -> list[Any]:
        return listed(found, by=f"{type(self._process).__name__} has a method")

    def advance(self, watermark_s: float | None) -> Fired:
        fired, self._rung = self._rung, ([], [])
        if watermark_s is not None and watermark_s > self.watermark_s:
            self._before_s, self.watermark_s = self.watermark_s, watermark_s
            self._has_ended = watermark_s == inf
            self.is_behind = True
        if self.is_behind:
            self._let_go(fired)
        for key in self._perhaps_empty:
            self._tidy(key)
        self._perhaps_empty.clear()
        if self._spilled is not None:
            self._spilled.trim()
        return fired

    def _let_go(self, fired: Fired) -> None:
        """Do what is due by the watermark: so much as may be at hand at once."""

        def take(time_s: float, key: Hashable, name: str | None) -> None:
            if name is not None:
                self._expire(time_s, key, name)
            else:
                self._fire(time_s, key, fired, max(time_s, self._before_s))
            if self._spilled is not None:
                self._spilled.trim()

        most = maxsize if self._spilled is None else self._spilled.len_part
        self.is_behind = let_go(self._due, self.watermark_s, fired, take, most=most)

    # What a process asks for.

    def set_timer(self, key: Hashable, own: OwnState, time_s: float) -> None:
        if self._context.time_s is None:
            raise ValueError("set_timer needs event time: give the source timestamp=, or use set_alarm")
        if not isfinite(time_s):
            raise ValueError(f"{time_s!r} is no event time for a timer")
        if time_s not in own.timers and not self._has_ended:
            own.timers.add(time_s)
            self._due.push(time_s, key, None)

    def set_alarm(self, key: Hashable, after_s: float) -> None:
        if not 0 <= after_s < inf:
            raise ValueError(f"set_alarm({after_s!r}) is no time from now")
        self.drop_alarm(key)
        self._ringing[key] = self._alarms.set(after_s, lambda: self._ring(key)), after_s

    def needs(self, method: str, asked: str) -> None:
        """Raises ValueError where nothing would be called: the process has no such method of its own."""
        if getattr(type(self._process), method) is getattr(KeyedProcess, method):
            raise ValueError(f"{asked} needs a method {method} in {type(self._process).__name__}")

    def drop_alarm(self, key: Hashable) -> None:
        if (alarm := self._ringing.pop(key, None)) is not None:
            self._alarms.drop(alarm[0])

    def _put_back_alarm(self, key: Hashable, alarm: tuple[int, float] | None) -> None:
        """Have a key the alarm that it had; of one that was dropped or replaced the time counts anew."""
        if self._ringing.get(key) != alarm:
            self.drop_alarm(key)
            if alarm is not None:
                self.set_alarm(key, alarm[1])

    def aside(self, tag: str, record: Any, time_s: float | None) -> None:
        self._sides.add(tag, record, time_s)

    def look_at(self, key: Hashable) -> None:
        """Forget the key after the batch, if it has nothing then."""
        self._perhaps_empty.append(key)

    def expire(self, key: Hashable, own: OwnState, name: str, time_s: float) -> None:
        """Forget a value at `time_s`; each stands once among what is due, at the time that it had then."""
        is_due = name in own.expiry_s
        own.expiry_s[name] = time_s
        if not is_due:
            self._due.push(time_s, key, name)

    # Timers, alarms and values that expire.

    def _fire(self, time_s: float, key: Hashable, fired: Fired, given_s: float) -> None:
        own = self._kept.get(key)
        if own is None or time_s not in own.timers:
            return
        own.timers.discard(time_s)
        self._at(key, own, time_s)
        self._run(fired, given_s, (key, time_s), lambda: self._process.on_timer(time_s, self._context))
        self._tidy(key)

    def _ring(self, key: Hashable) -> None:
        own = self._kept.get(key) or self._begin(key)
        del self._ringing[key]
        time_s = None if self.watermark_s == -inf else self.watermark_s
        self._at(key, own, time_s)
        self._run(self._rung, time_s, (key, None), lambda: self._process.on_alarm(self._context))
        self._tidy(key)

    def _run(self, fired: Fired, time_s: float | None, what: Any, call: Callable[[], Iterable[Any] | None]) -> None:
        results, times = fired
        num_before = len(results)
        tried = self._failures.tried(self._step, what, 1, self._called, call)
        if tried is not None:
            results.extend(tried[0])
        if time_s is not None:
            times.extend([time_s] * (len(results) - num_before))

    def _called(self, call: Callable[[], Iterable[Any] | None]) -> list[Any]:
        """Return what a method gives; what it changed is taken back where it fails, and may be tried again."""
        own, key = self._context.own, self._context.key
        is_final, alarm = self._step.on_error is OnError.FAIL, self._ringing.get(key)
        before = None if is_final else Before(own.values, own.timers, own.expiry_s, self._sides)
        try:
            found = call()
            return [] if found is None else self._listed(found)
        except Exception:
            if before is not None:
                before.put_back()
                self._put_back_alarm(key, alarm)
            raise

    def _expire(self, time_s: float, key: Hashable, name: str) -> None:
        own = self._kept.get(key)
        if own is None or name not in own.expiry_s:
            return
        if own.expiry_s[name] > time_s:
            self._due.push(own.expiry_s[name], key, name)  # it was written since
            return
        self._rows.marks.touch(key)
        del own.expiry_s[name]
        own.values.pop(name, None)
        self._tidy(key)

    def _begin(self, key: Hashable) -> OwnState:
        own = self._kept[key] = OwnState()
        self._perhaps_empty.append(key)
        return own

    def _at(self, key: Hashable, own: OwnState, time_s: float | None) -> None:
        self._rows.marks.touch(key)
        context = self._context
        context.own, context.current, context.key, context.time_s = own, own.values, key, time_s

    def _tidy(self, key: Hashable) -> None:
        """Forget a key that has nothing."""
        own = self._kept.get(key)
        if own is not None and own.is_empty() and key not in self._ringing:
            del self._kept[key]

    # What is saved, and seen by others.

    def value_of(self, key: Hashable) -> dict[str, Any] | None:
        """Return the states of a key by their names, without those that were never written."""
        own = self._kept.get(key)
        return dict(own.values) if own is not None else None

    def snapshot(self) -> StepState:
        """Where keys are in a table: lay it down, and beside it the alarms of keys."""
        if self._spilled is None or self._stored_dues is None:
            return self._rows.snapshot(self._kept.keys())
        self._stored_dues.write()
        return self._spilled.snapshot({key: ({}, (), {}, after_s) for key, (_, after_s) in self._ringing.items()})

    def _row(self, key: Hashable) -> OwnRow:
        own = self._kept[key]
        alarm_after_s = self._ringing[key][1] if key in self._ringing else None
        return dict(own.values), tuple(sorted(own.timers)), dict(own.expiry_s), alarm_after_s

    def restore(self, state: StepState) -> None:
        if self._spilled is None or self._stored_dues is None:
            refuse_stored(state)
        elif state.stored:
            self._spilled.restore(state)
            self._stored_dues.restore()
            if state.has_undeclared:
                self._spilled.write_anew(OwnState.is_empty)
        for key, row in (state.keyed or {}).items():
            if not state.stored:
                self._restore(key, row)
            if row[3] is not None:
                self.set_alarm(key, row[3])

    def _restore(self, key: Hashable, row: OwnRow) -> None:
        found = own_of_row(row, self._declared)
        expiry_s, found.expiry_s = found.expiry_s, {}
        own = self._kept[key] = found
        if own.is_empty():
            self.look_at(key)
        for time_s in own.timers:
            self._due.push(time_s, key, None)
        for name, time_s in expiry_s.items():
            self.expire(key, own, name, time_s)
        if self._spilled is not None:
            self._spilled.trim()
