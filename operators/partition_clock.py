"""The watermark of a stream whose partitions advance apart from each other. Knows no source."""

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from operators.alarms import Alarms
from operators.event_clock import NAMES_OF_TIME, no_time
from operators.read_times import ReadTimes
from operators.state import StepState
from sage.flow.spec import AssignTimestamps

PlaceOf = Callable[[Hashable], Hashable]


@dataclass(slots=True)
class _Part:
    """What is known of the partitions of records, where these came from one partition of the source."""

    latest_s: dict[Hashable, float] = field(default_factory=dict)
    heard: set[Hashable] = field(default_factory=set)
    idle: set[Hashable] = field(default_factory=set)

    def go_on(self, partition: Hashable, latest_s: float) -> None:
        """Of several that had it, the least: never too high."""
        self.latest_s[partition] = min(latest_s, self.latest_s.get(partition, inf))
        self.heard.add(partition)


class PartitionClock:
    """Follows the partition that is furthest behind at a fixed distance; a generated loop sets `latest_s` of each.

    A partition without a record between two looks, which are `idle_after_s` apart, is idle and does not count until
    it has one again; the watermark never falls. It is the rule of Flink's withIdleness, a look at all at once.

    Where the source is read by partitions of its own, those of the records are told apart by that too: they go where
    the source's go, and end with it. So the least of all instances is the same however many there are.
    """

    def __init__(self, spec: AssignTimestamps, alarms: Alarms, *, place_of: PlaceOf | None = None) -> None:
        """`place_of`: which of what a reader owns a partition is; None where that cannot be told of records."""
        self._place_of = place_of
        self._max_out_of_order_s = spec.max_out_of_order_s
        self._idle_after_s = spec.idle_after_s
        self._alarms = alarms
        self._whole = _Part()
        self._parts: dict[str, _Part] = {}  # by the source's partition
        self._is_watched = False
        self._watermark_s = -inf
        self._stated_s = -inf
        self._times: ReadTimes | None = None
        self._owned: Collection[Hashable] | None = None
        self._num_asked: dict[str, int] = {}  # at the last look

    def lines(
        self, number: int, spec: AssignTimestamps, names: dict[str, Any]
    ) -> tuple[list[str], list[str], list[str]]:
        """Return lines of a loop: once before it, for each record `x`, which set its time `t`, and once after it."""
        latest, get, fn, part, clock = (f"{name}{number}" for name in ("latest", "get", "f", "part", "clock"))
        names |= {fn: spec.fn, part: spec.partition, clock: self, "no_time": no_time, **NAMES_OF_TIME}
        each = [
            f"t = {fn}(x)",
            f"p = {part}(x)",
            f"was = {get}(p, EARLIEST)",
            "try:",
            "    t += 0.0",
            f"    if was < t < LATEST: {latest}[p] = t",
            "    elif not EARLIEST < t <= was: raise no_time(t)",
            "except (TypeError, OverflowError): raise no_time(t) from None",
        ]
        before = [f"{latest}, {get}, hear{number} = {clock}.before()"]
        return before, [*each, *([f"hear{number}(p)"] if self._idle_after_s is not None else [])], []

    def before(self) -> tuple[dict[Hashable, float], Callable[..., float], Callable[[Hashable], None]]:
        """Return the latest times of partitions, and what looks one up and hears of one, for the next records."""
        part = self._whole
        if self._times is not None:
            part = self._parts.setdefault(self._times.current, _Part())
        return part.latest_s, part.latest_s.get, part.heard.add

    def stated(self, watermark_s: float) -> None:
        """Take what the source says of all its partitions."""
        self._stated_s = max(self._stated_s, watermark_s)

    def watermark_s(self) -> float | None:
        """Return the watermark where it has risen since the last time."""
        parts = self._open_parts()
        for part in parts:
            part.idle -= part.heard
        self._watch(parts)
        awake = [time_s for part in parts for partition, time_s in part.latest_s.items() if partition not in part.idle]
        watermark_s = max(min(awake, default=-inf) - self._max_out_of_order_s, self._stated_s)
        if watermark_s <= self._watermark_s:
            return None
        self._watermark_s = watermark_s
        return watermark_s

    def snapshot(self) -> StepState:
        """Keep the time of each partition, with that of the source of which its records are where these are apart."""
        self._open_parts()  # what has ended is forgotten
        parts = [(None, self._whole), *self._parts.items()]
        return StepState(heard=[(name, *latest) for name, part in parts for latest in part.latest_s.items()])

    def follow(self, times: ReadTimes) -> None:
        """Hear which partitions are read here, before `restore`."""
        self._owned = times.owned if self._place_of is not None else None
        self._times = times if times.owned is None else None

    def restore(self, state: StepState) -> None:
        """Of other instances' partitions those are gone on with whose source's partition is read here.

        Where nobody knows of which they were, each of the source's that was begun may have them, and where nobody knows
        what is read, none. But those that can be idle are all gone on with: one that comes elsewhere now is waited for
        until the next look.
        """
        found = [*(state.fixed or ()), *state.heard]  # `fixed`, and pairs: as it was kept until 2026-11-23
        for *names, partition, time_s in found:
            name = names[0] if names else None
            for part in self._going_on(name, partition, is_dealt=state.is_dealt):
                part.go_on(partition, time_s)

    def _going_on(self, name: str | None, partition: Hashable, *, is_dealt: bool) -> Sequence[_Part]:
        if (times := self._times) is not None:
            went_on = times.went_on
            now = set(went_on.values()) if name is None else {went_on[name]} if name in went_on else set()
            return [self._parts.setdefault(each, _Part()) for each in sorted(now)]
        if self._place_of is _place and _place(partition) is None:
            return []
        if not is_dealt or (self._owned is None and self._idle_after_s is not None):
            return [self._whole]
        is_here = self._owned is not None and self._place_of is not None and self._place_of(partition) in self._owned
        return [self._whole] if is_here else []

    def _open_parts(self) -> Sequence[_Part]:
        """Return those of partitions that are open; forget those that have ended."""
        if (times := self._times) is None:
            return (self._whole,)
        kept = {*times.latest_s, *times.went_on.values()}
        self._parts = {name: part for name, part in self._parts.items() if name in kept}
        return [part for name, part in self._parts.items() if name in times.latest_s]

    def _watch(self, parts: Sequence[_Part]) -> None:
        if (
            self._idle_after_s is not None
            and not self._is_watched
            and any(len(p.idle) < len(p.latest_s) for p in parts)
        ):
            self._is_watched = True
            self._alarms.set(self._idle_after_s, self._look)

    def _look(self) -> None:
        """Those of a partition of the source that was not asked meanwhile are not idle by that."""
        self._is_watched = False
        asked = [self._whole]
        if (times := self._times) is not None:
            before, self._num_asked = self._num_asked, dict(times.num_asked)
            asked = [p for name, p in self._parts.items() if self._num_asked.get(name, 0) > before.get(name, 0)]
        for part in asked:
            part.idle |= part.latest_s.keys() - part.heard
            part.heard.clear()


def apart_by_place(
    time: AssignTimestamps, place_of: Callable[[Any], Hashable] | None
) -> tuple[AssignTimestamps, PlaceOf]:
    """Return how a source gives its records their time, and where the partitions that this speaks of are.

    `place_of`: where a record of it was read, for a source that gives those of several places together. What a user
    has named is told apart by that too.
    """
    partition = time.partition
    if partition is None or place_of is None or partition is place_of:
        return time, lambda known: known
    return replace(time, partition=lambda record: (place_of(record), partition(record))), _place


def _place(partition: Hashable) -> Hashable:
    """Return where a partition is; None for one that was kept before they were told apart, until 2026-11-23."""
    return partition[0] if isinstance(partition, tuple) and len(partition) == 2 else None
