"""The watermark of a source that is read by its partitions, those of a batch being of one. Knows no source."""

from math import inf
from typing import Any

from operators.alarms import Alarms
from operators.event_clock import FARTHEST_S, EventClock, lines_of_time
from operators.quiet import NUM_LOOKS, Quiet
from operators.read_times import ReadTimes
from operators.state import StepState
from sage.flow.spec import AssignTimestamps


class SplitClock:
    """Follows the open partition that is furthest behind at a fixed distance; a generated loop has one of it at a time.

    A partition that has given no record yet holds the watermark back, unless it is idle: asked for records in vain at
    two times that are `idle_after_s` or more apart, without one in between. Where nobody tells of partitions, or
    records of several come together, the source is one.
    """

    def __init__(self, spec: AssignTimestamps, alarms: Alarms) -> None:
        self._whole = EventClock(spec.max_out_of_order_s)
        self._max_out_of_order_s = spec.max_out_of_order_s
        self._idle_after_s = spec.idle_after_s
        self._alarms = alarms
        self._times: ReadTimes | None = None
        self._heard: set[str] = set()
        self._idle: set[str] = set()
        self._is_watched = False
        self._quiet = Quiet()
        self._watermark_s = -inf

    def follow(self, times: ReadTimes) -> None:
        """Go by partitions from now on, where records are of one at a time."""
        if times.owned is None:
            self._times = times

    def lines(
        self, number: int, spec: AssignTimestamps, names: dict[str, Any]
    ) -> tuple[list[str], list[str], list[str]]:
        """Return lines of a loop: once before it, for each record `x`, which set its time `t`, and once after it."""
        latest, clock, each = lines_of_time(number, spec, names, self)
        return [f"{latest} = max({clock}.before(), EARLIEST)"], each, [f"{clock}.after({latest})"]

    def before(self) -> float:
        """Return the latest time of the partition of which the next records are."""
        if self._times is None:
            return self._whole.latest_s
        return self._times.latest_s.get(self._times.current, -inf)

    def after(self, latest_s: float) -> None:
        """Take its latest time once records were given theirs."""
        if latest_s <= -FARTHEST_S:
            latest_s = -inf  # none had a time
        if self._times is None:
            self._whole.latest_s = max(self._whole.latest_s, latest_s)
        elif self._times.current in self._times.latest_s:
            self._times.latest_s[self._times.current] = latest_s
            self._heard.add(self._times.current)

    def stated(self, watermark_s: float) -> None:
        """Take what the source says of all its partitions."""
        self._whole.stated(watermark_s)

    def watermark_s(self) -> float | None:
        """Return the watermark where it has risen since the last time."""
        if (times := self._times) is None:
            return self._whole.watermark_s()
        self._idle -= self._heard
        self._watch(times)
        awake = [
            max(latest_s - self._max_out_of_order_s, times.stated_s.get(name, -inf))
            for name, latest_s in times.latest_s.items()
            if name not in self._idle
        ]
        watermark_s = max(min(awake, default=-inf), self._whole.stated_s)
        if watermark_s <= self._watermark_s:
            return None
        self._watermark_s = watermark_s
        return watermark_s

    def snapshot(self) -> StepState:
        """Times of partitions are kept with where these are read: they go where the partitions go."""
        return self._whole.snapshot()

    def restore(self, state: StepState) -> None:
        self._whole.restore(state)

    def _watch(self, times: ReadTimes) -> None:
        self._idle &= times.latest_s.keys()
        if self._idle_after_s is not None and not self._is_watched and len(self._idle) < len(times.latest_s):
            self._is_watched = True
            self._alarms.set(self._idle_after_s / NUM_LOOKS, self._look)

    def _look(self) -> None:
        self._is_watched = False
        assert self._times is not None, "only partitions are watched"
        self._idle = (self._idle | self._quiet.look(self._times, self._heard)) - self._heard
        self._heard.clear()
