"""How long the steps of a flow take and what comes after each, learned from the flow's own calls. Pure; knows no queue.

A record's calls are told apart by the record's id. A call that arrives follows those of its record that ended before it
and since the record's last call arrived: of a step that fans out each branch follows it, and what joins branches
follows them all. What is left after a step is what the next one takes and what is left after that; where branches go on
from it, the longest. How often nothing followed is counted too: after a step that mostly ends a flow little is left.
"""

from dataclasses import dataclass, field

from cluster.serving.recent import Recent
from sage.base.inference import Origin

MAX_STEPS = 4_096
MAX_RECORDS = 65_536
_KEEP = 0.95  # weight of what was seen before: about the last twenty count
_OUTLIER = 3.0  # what lies farther from the mean than so many mean distances counts as if it lay there
_MIN_SEEN = 8  # before that, distances say nothing yet


@dataclass(slots=True)
class RobustMean:
    """A forgetting mean; one outlier does not move it."""

    mean: float = 0.0
    distance: float = 0.0
    num_seen: int = 0

    def observe(self, value: float) -> None:
        self.num_seen += 1
        weight = max(1.0 - _KEEP, 1.0 / self.num_seen)
        away = value - self.mean
        if self.num_seen > _MIN_SEEN:
            most = _OUTLIER * self.distance
            away = min(max(away, -most), most)
        if self.num_seen > 1:
            self.distance += weight * (abs(value - self.mean) - self.distance)
        self.mean += weight * away


@dataclass(slots=True)
class _Step:
    took: RobustMean = field(default_factory=RobustMean)
    left: RobustMean = field(default_factory=RobustMean)  # after it, where something followed
    num_ended: float = 0.0
    num_followed: float = 0.0

    def left_s(self) -> float:
        share = self.num_followed / self.num_ended if self.num_ended else 0.0
        return min(1.0, share) * self.left.mean


@dataclass(slots=True)
class _Ended:
    """A call that ended last. `left_s`: after it, by what has followed so far; None: nothing has."""

    step: _Step
    left_s: float | None = None


@dataclass(slots=True)
class _Record:
    ended: list[_Ended] = field(default_factory=list)  # the calls that the next one follows
    has_gone_on: bool = False  # whether a call has arrived since the first of these ended


class Downstream:
    """What is known of all flows. Costs O(1) a call, but for what joins many branches; bounded."""

    def __init__(self) -> None:
        self._steps: Recent[tuple[str, str], _Step] = Recent(MAX_STEPS)
        self._records: Recent[tuple[str, str], _Record] = Recent(MAX_RECORDS)

    def arrived(self, origin: Origin) -> None:
        """Note that a record's call arrived."""
        record = self._records.get((origin.flow, origin.record)) if origin.record else None
        if record is None:
            return
        record.has_gone_on = True
        step = self._step(origin)
        left_s = step.took.mean + step.left_s()
        for before in record.ended:
            if before.left_s is None:
                before.left_s = left_s
                before.step.num_followed += 1.0
                before.step.left.observe(left_s)
            elif left_s > before.left_s:  # another branch, and longer
                before.left_s = left_s
                before.step.left.observe(left_s)

    def ended(self, origin: Origin, took_s: float) -> None:
        """Note that an engine has answered a call, so long after it was given it."""
        step = self._step(origin)
        step.took.observe(took_s)
        step.num_ended = _KEEP * step.num_ended + 1.0
        step.num_followed *= _KEEP
        if not origin.record:
            return
        key = (origin.flow, origin.record)
        record = self._records.get(key)
        if record is None:
            self._records.put(key, record := _Record())
        if record.has_gone_on:
            record.ended.clear()
            record.has_gone_on = False
        record.ended.append(_Ended(step))

    def left_s(self, origin: Origin) -> float:
        """Return how long engines will work on a record from a call on, it and what comes after; 0 of what is new."""
        step = self._steps.get((origin.flow, origin.step))
        return 0.0 if step is None else step.took.mean + step.left_s()

    def _step(self, origin: Origin) -> _Step:
        key = (origin.flow, origin.step)
        step = self._steps.get(key)
        if step is None:
            self._steps.put(key, step := _Step())
        return step
