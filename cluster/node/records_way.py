"""The way of records between this node and others: which peers it has, and what each run needs of it.

Knows nothing of what runs. Used on one thread; what breaks is told on the data thread.
"""

from collections.abc import Callable, Iterable, Mapping

from cluster.runtime.control import PeerAddress
from cluster.runtime.data_sockets import Context, DataSockets
from cluster.runtime.data_thread import DataFact, PeerLost
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.scheduler import Scheduler
from cluster.runtime.zmq_transport import ZmqTransport
from sage.base.clock import Clock
from sage.base.ids import JobId, NodeId, TaskId

OnPeerLost = Callable[[PeerLost], object]


class RecordsWay:
    """A transport and its routes."""

    def __init__(
        self,
        node_id: NodeId,
        address: str,
        sockets: DataSockets,
        *,
        on_peer_lost: OnPeerLost,
        clock: Clock,
        scheduler: Scheduler | None = None,
        context: Context | None = None,
    ) -> None:
        """Listen at `address`; `on_peer_lost` is called on another thread and must not wait. Raises ConfigInvalid.

        `scheduler` and `context` are as for ZmqTransport.
        """
        self._node_id = node_id
        self._on_peer_lost = on_peer_lost
        self._peers: dict[NodeId, PeerAddress] = {}
        self._elsewhere: dict[JobId, dict[TaskId, NodeId]] = {}
        self.transport = ZmqTransport(
            node_id, address, sockets, report=self._take_fact, clock=clock, scheduler=scheduler, context=context
        )

    @property
    def address(self) -> str:
        """Where peers connect to."""
        return self.transport.address

    def open(
        self,
        run_id: JobId,
        nodes: Mapping[TaskId, NodeId],
        peers: Mapping[NodeId, PeerAddress],
        types: RecordTypes,
    ) -> None:
        """Let the tasks of a run reach those of other nodes; `nodes` is that of every task."""
        elsewhere = {task_id: node_id for task_id, node_id in nodes.items() if node_id != self._node_id}
        for node_id in dict.fromkeys(elsewhere.values()):
            self._know(node_id, peers[node_id])
        self._elsewhere[run_id] = elsewhere
        for task_id, node_id in nodes.items():
            if node_id != self._node_id:
                self.transport.route(task_id, node_id, types=types)

    def close_run(self, run_id: JobId) -> None:
        """Forget a run; unknown ones are passed over."""
        self.transport.forget(self._elsewhere.pop(run_id, {}))

    def lost(self, peer: PeerLost) -> Iterable[JobId]:
        """Take a loss; return the runs that had tasks there."""
        self._peers.pop(peer.peer, None)
        return [run_id for run_id, elsewhere in self._elsewhere.items() if peer.peer in elsewhere.values()]

    def close(self) -> None:
        self.transport.close()

    def _know(self, node_id: NodeId, peer: PeerAddress) -> None:
        """Connect to a peer, unless that is done; one that has come back is elsewhere than before."""
        if self._peers.get(node_id) == peer:
            return
        self.transport.drop_peer(node_id)
        self._peers[node_id] = peer
        self.transport.add_peer(node_id, peer.data_address, peer.public_key or None)

    def _take_fact(self, fact: DataFact) -> None:
        if isinstance(fact, PeerLost):
            self._on_peer_lost(fact)
