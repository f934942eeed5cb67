"""How long a silence of a node is normal, and when it counts as lost. Pure: whoever asks brings the time.

A node is suspect once its silence is longer than its own heartbeats make likely: mean + 4 deviations of the last
intervals (the rule of TCP's retransmission timer, RFC 6298 section 2, over a window). Nothing new is placed on a
suspect. It is lost after twice that, within bounds: never before its lease has run out, so that it has stopped by
itself, and never later than `lost_after_s`, whatever its heartbeats were like.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import sqrt

from sage.base.ids import NodeId

NUM_INTERVALS = 32
_NUM_DEVIATIONS = 4.0
_CLOCK_DRIFT = 1.02  # clocks of two machines run at most 2 % apart


class Health(StrEnum):
    ALIVE = "alive"
    SUSPECT = "suspect"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Beat:
    """`every_s`: how often nodes say that they are there. `lease_s`: how long a node may work after an answer.

    `lost_after_s`: the longest silence of a member.
    """

    every_s: float = 0.5
    lease_s: float = 2.0
    lost_after_s: float = 2.7

    def __post_init__(self) -> None:
        assert 0.0 < self.every_s < self.lease_s * _CLOCK_DRIFT < self.lost_after_s, self


@dataclass(slots=True)
class _Node:
    """`usual_s`: how long a silence its heartbeats make likely; reckoned when it is heard, for it is asked often."""

    heard_s: float
    state: Health = Health.ALIVE
    intervals_s: deque[float] = field(default_factory=lambda: deque(maxlen=NUM_INTERVALS))
    usual_s: float | None = None


class HealthWatch:
    """Watches any number of nodes; a lost one is forgotten."""

    def __init__(self, beat: Beat) -> None:
        self._beat = beat
        self._nodes: dict[NodeId, _Node] = {}

    def add(self, node_id: NodeId, now_s: float) -> None:
        self._nodes[node_id] = _Node(now_s)

    def remove(self, node_id: NodeId) -> None:
        self._nodes.pop(node_id, None)

    def heard(self, node_id: NodeId, now_s: float) -> None:
        """Account for a heartbeat; of nodes that are not watched, for nothing."""
        if (node := self._nodes.get(node_id)) is not None:
            node.intervals_s.append(now_s - node.heard_s)
            node.heard_s, node.state = now_s, Health.ALIVE
            node.usual_s = _usual_s(node.intervals_s)

    def health(self, node_id: NodeId) -> Health:
        """Return what the last `check` found; LOST for a node that is not watched."""
        node = self._nodes.get(node_id)
        return node.state if node is not None else Health.LOST

    def silent_s(self, node_id: NodeId, now_s: float) -> float:
        return now_s - self._nodes[node_id].heard_s

    def check(self, now_s: float) -> list[NodeId]:
        """Return the nodes that are lost from now on."""
        for node in self._nodes.values():
            if now_s >= node.heard_s + self._lost_after_s(node):
                node.state = Health.LOST
            elif now_s >= node.heard_s + self._suspect_after_s(node):
                node.state = Health.SUSPECT
        lost = [node_id for node_id, node in self._nodes.items() if node.state is Health.LOST]
        for node_id in lost:
            del self._nodes[node_id]
        return lost

    def next_check_s(self) -> float | None:
        """Return when `check` may find something new; None where nobody is watched."""
        return min(self._due_times(), default=None)

    def _due_times(self) -> Iterable[float]:
        for node in self._nodes.values():
            is_suspect = node.state is Health.SUSPECT
            yield node.heard_s + (self._lost_after_s(node) if is_suspect else self._suspect_after_s(node))

    def _suspect_after_s(self, node: _Node) -> float:
        if node.usual_s is None:
            return self._beat.lease_s
        return min(max(node.usual_s, 2.0 * self._beat.every_s), self._beat.lease_s)

    def _lost_after_s(self, node: _Node) -> float:
        earliest_s = self._beat.lease_s * _CLOCK_DRIFT
        return min(max(2.0 * self._suspect_after_s(node), earliest_s), self._beat.lost_after_s)


def _usual_s(intervals_s: Sequence[float]) -> float | None:
    """Return the mean and so many deviations of what there is; None where that is too little to tell."""
    if len(intervals_s) < 2:
        return None
    mean_s = sum(intervals_s) / len(intervals_s)
    return mean_s + _NUM_DEVIATIONS * sqrt(sum((each_s - mean_s) ** 2 for each_s in intervals_s) / len(intervals_s))
