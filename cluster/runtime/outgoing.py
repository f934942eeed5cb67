"""What waits for one peer: credit and ends of little weight before batches. Knows no socket.

Any thread puts, one takes. Two lanes: credit says nothing about the order of batches, so it does not wait behind them.
"""

from collections import deque
from dataclasses import dataclass

from cluster.runtime.links import Grant
from cluster.runtime.wire import Outbound
from sage.base.errors import InternalError
from sage.base.ids import NodeId

NUM_WAITING = 1 << 16  # far beyond what credit lets out: 8 batches on each of thousands of links


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node: where it listens, and the one key it must have (None where there are no keys)."""

    node: NodeId
    address: str
    public_key: str | None = None


class Outgoing:
    """The queue of one peer. Its real bound is credit; this one makes a fault in that visible."""

    def __init__(self, peer: Peer, *, num_waiting: int = NUM_WAITING) -> None:
        self.peer = peer
        self._num_waiting = num_waiting
        self._credit: deque[Outbound] = deque()
        self._others: deque[Outbound] = deque()

    def put(self, outbound: Outbound) -> None:
        """Add a message; raises InternalError at the bound."""
        lane = self._credit if isinstance(outbound.message, Grant) else self._others
        if len(lane) >= self._num_waiting:
            raise InternalError(
                f"{self._num_waiting} messages wait for node {self.peer.node}: credit was not respected"
            )
        lane.append(outbound)

    def take(self) -> Outbound | None:
        """Return the next message to send, or None."""
        if self._credit:
            return self._credit.popleft()
        return self._others.popleft() if self._others else None

    def put_back(self, outbound: Outbound) -> None:
        """Return what was taken and could not be sent: it is the next one of its lane."""
        lane = self._credit if isinstance(outbound.message, Grant) else self._others
        lane.appendleft(outbound)

    def __len__(self) -> int:
        return len(self._credit) + len(self._others)
