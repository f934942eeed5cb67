"""The watermark of a stream whose partitions advance apart from each other. Knows no source."""

from collections.abc import Collection, Hashable
from math import inf
from typing import Any

from operators.alarms import Alarms
from operators.event_clock import no_time
from operators.read_times import ReadTimes
from operators.state import StepState
from sage.flow.spec import AssignTimestamps


class PartitionClock:
    """Follows the partition that is furthest behind at a fixed distance; a generated loop sets `latest_s` of each.

    A partition without a record between two looks, which are `idle_after_s` apart, is idle and does not count until
    it has one again; the watermark never falls. It is the rule of Flink's withIdleness, a look at all at once.
    """

    def __init__(self, spec: AssignTimestamps, alarms: Alarms) -> None:
        self._max_out_of_order_s = spec.max_out_of_order_s
        self._idle_after_s = spec.idle_after_s
        self._alarms = alarms
        self._latest_s: dict[Hashable, float] = {}
        self._heard: set[Hashable] = set()
        self._idle: set[Hashable] = set()
        self._is_watched = False
        self._watermark_s = -inf
        self._stated_s = -inf
        self._owned: Collection[Hashable] | None = None

    def lines(
        self, number: int, spec: AssignTimestamps, names: dict[str, Any]
    ) -> tuple[list[str], list[str], list[str]]:
        """Return lines of a loop: once before it, for each record `x`, which set its time `t`, and once after it."""
        latest, get, fn, part = f"latest{number}", f"get{number}", f"f{number}", f"part{number}"
        names |= {fn: spec.fn, part: spec.partition, latest: self._latest_s, get: self._latest_s.get}
        names |= {"INFINITE": inf, "no_time": no_time, f"hear{number}": self._heard.add}
        each = [
            f"t = {fn}(x)",
            f"p = {part}(x)",
            f"was = {get}(p, -INFINITE)",
            "try:",
            f"    if was < t < INFINITE: {latest}[p] = t",
            "    elif not t <= was: raise no_time(t)",
            "except TypeError: raise no_time(t) from None",
        ]
        return [], [*each, *([f"hear{number}(p)"] if self._idle_after_s is not None else [])], []

    def stated(self, watermark_s: float) -> None:
        """Take what the source says of all its partitions."""
        self._stated_s = max(self._stated_s, watermark_s)

    def watermark_s(self) -> float | None:
        """Return the watermark where it has risen since the last time."""
        self._idle -= self._heard
        self._watch()
        awake = [time_s for partition, time_s in self._latest_s.items() if partition not in self._idle]
        watermark_s = max(min(awake, default=-inf) - self._max_out_of_order_s, self._stated_s)
        if watermark_s <= self._watermark_s:
            return None
        self._watermark_s = watermark_s
        return watermark_s

    def snapshot(self) -> StepState:
        return StepState(heard=list(self._latest_s.items()))

    def follow(self, times: ReadTimes) -> None:
        """Hear which partitions are read here, before `restore`."""
        self._owned = times.owned

    def restore(self, state: StepState) -> None:
        """Of other instances' partitions those are gone on with that are read here; where nobody knows, none.

        Those that can be idle are all gone on with: one that comes elsewhere now is waited for until the next look.
        """
        found = [*(state.fixed or ()), *state.heard]  # `fixed`: as it was kept until 2026-11-23
        if state.is_dealt and (self._owned is not None or self._idle_after_s is None):
            owned = self._owned if self._owned is not None else ()
            found = [(partition, time_s) for partition, time_s in found if partition in owned]
        for partition, time_s in found:  # of several instances that had one, the least: never too high
            self._latest_s[partition] = min(time_s, self._latest_s.get(partition, inf))
        self._heard.update(self._latest_s)

    def _watch(self) -> None:
        if self._idle_after_s is not None and not self._is_watched and len(self._idle) < len(self._latest_s):
            self._is_watched = True
            self._alarms.set(self._idle_after_s, self._look)

    def _look(self) -> None:
        self._is_watched = False
        self._idle |= self._latest_s.keys() - self._heard
        self._heard.clear()
