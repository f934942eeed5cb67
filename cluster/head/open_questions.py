"""Questions of clients that were passed on to nodes, and wait for their answers. Knows not what is asked.

Who asks waits for a time of its own; what nobody waits for any more is forgotten.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cluster.runtime.channel import PeerId
from sage.base.errors import Overloaded
from sage.base.ids import NodeId

MAX_ASKED = 1_000
"""Questions that wait for a node's answer."""

WAITS_S = 60.0
"""For how long at most a node's answer is expected."""


@dataclass(frozen=True, slots=True)
class WhoAsked:
    """Who asked what is now asked of a node, and by which number of its own."""

    peer: PeerId
    question: int
    node_id: NodeId


class OpenQuestions:
    """Used by one thread. `what` they are about, in words; `now_s` is the clock."""

    def __init__(self, what: str, now_s: Callable[[], float]) -> None:
        self._what = what
        self._now_s = now_s
        self._open: dict[int, tuple[WhoAsked, float]] = {}
        self._num_asked = 0

    def next_number(self) -> int:
        """Return the number of a question to come. Raises Overloaded."""
        now_s = self._now_s()
        while self._open and next(iter(self._open.values()))[1] <= now_s:
            del self._open[next(iter(self._open))]
        if len(self._open) >= MAX_ASKED:
            raise Overloaded(f"{MAX_ASKED:,} questions for {self._what} wait for their answer", "Ask again later.")
        self._num_asked += 1
        return self._num_asked

    def keep(self, number: int, asker: WhoAsked) -> None:
        """Wait for the answer to a question that a node was told."""
        self._open[number] = asker, self._now_s() + WAITS_S

    def answered(self, number: int, node_id: NodeId) -> WhoAsked | None:
        """Return who waits for an answer, no longer open; None where nobody waits for one of this node."""
        asker, _ = self._open.get(number, (None, 0.0))
        if asker is None or asker.node_id != node_id:
            return None
        del self._open[number]
        return asker
