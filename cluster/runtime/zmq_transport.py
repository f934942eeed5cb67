"""The transport between tasks of several nodes, over ZeroMQ; those of this node reach each other by a call.

Knows nothing of jobs: whoever deploys says which task is where. A batch is encoded on the thread that sends it, so that
a record which cannot travel fails its own step, and sent there too, unless another sends to that peer just then: to
wake a thread takes longer than to send. Everything else happens on the data thread.
"""

from collections.abc import Callable, Iterable, Sequence

import zmq

from cluster.runtime.columns import Buffer
from cluster.runtime.data_sockets import Context, DataSockets
from cluster.runtime.data_thread import AddPeer, DataFact, DataPorts, DataThread, DropPeer, WireStats
from cluster.runtime.inproc import InprocTransport
from cluster.runtime.links import Delivery, TaskMessage, recipient_of
from cluster.runtime.outgoing import Outgoing, Peer
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.records import encode_batch
from cluster.runtime.routes import Route, Routes
from cluster.runtime.scheduler import Scheduler, Threads
from cluster.runtime.transport import Receive
from cluster.runtime.wire import Outbound
from sage.base.clock import Clock
from sage.base.errors import InternalError
from sage.base.ids import NodeId, TaskId

_NO_TYPES = RecordTypes()
_CLOSE_TIMEOUT_S = 5.0


class ZmqTransport:
    """A Transport; its methods may be called on any thread. Closed once, by whoever made it."""

    def __init__(
        self,
        node: NodeId,
        address: str,
        sockets: DataSockets,
        *,
        report: Callable[[DataFact], object],
        clock: Clock,
        scheduler: Scheduler | None = None,
        context: Context | None = None,
    ) -> None:
        """Listen at `address`. `report` is called on the data thread and must not wait.

        `scheduler` runs that thread. `context`: of this transport alone, which ends it; by default a new one.

        Raises ConfigInvalid where the address cannot be had.
        """
        self._routes = Routes()
        self._local = InprocTransport()
        self._outgoing: dict[NodeId, Outgoing] = {}
        self._context: Context = context if context is not None else zmq.Context(io_threads=1)
        scheduler = scheduler if scheduler is not None else Threads()
        deliver = self._local.send
        ports = DataPorts(node, sockets, self._routes, self._outgoing, deliver, report, clock, scheduler.poll)
        try:
            self._data = DataThread(self._context, ports, address)
        except BaseException:
            self._context.term()
            raise
        self._thread = scheduler.begin(f"{node} data", self._data.run)

    @property
    def address(self) -> str:
        """Where peers connect to, with the port it got."""
        return self._data.address

    # Which task is where.

    def route(self, task_id: TaskId, peer: NodeId, *, epoch: int = 0, types: RecordTypes = _NO_TYPES) -> None:
        """Say that a task is on `peer`, and that its job is in `epoch`: both ends must be told the same.

        `types`: classes of its flow that may travel. Replaces what was said before.
        """
        self._routes.add(task_id, Route(peer, epoch, types))

    def forget(self, task_ids: Iterable[TaskId]) -> None:
        """Take back what `route` said; unknown tasks are passed over."""
        self._routes.remove(task_ids)

    def add_peer(self, peer: NodeId, address: str, public_key: str | None = None) -> None:
        """Connect to a node that must have this key; PeerJoined or PeerLost is reported.

        Raises InternalError where it is added already and neither lost nor dropped.
        """
        outgoing = Outgoing(Peer(peer, address, public_key))
        if self._outgoing.setdefault(peer, outgoing) is not outgoing:
            raise InternalError(f"node {peer} is added twice")
        self._data.tell(AddPeer(outgoing))

    def drop_peer(self, peer: NodeId) -> None:
        """End the connection both ways and forget the node's tasks; what waits is lost. Unknown peers are passed over.

        The other side is told, and reports us as lost.
        """
        outgoing = self._outgoing.pop(peer, None)
        self._routes.remove_peer(peer)
        if outgoing is not None:
            self._data.tell(DropPeer(outgoing))

    def stats(self) -> WireStats:
        return self._data.stats()

    def close(self) -> None:
        """End every connection and the thread; what waits is lost. Raises InternalError where the thread hangs."""
        if self._context.closed:
            return
        self._data.end()
        self._thread.join(_CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            raise InternalError(f"the data thread did not end within {_CLOSE_TIMEOUT_S:g} s")
        self._data.release()
        self._context.term()

    # The port.

    def connect(self, task_id: TaskId, receive: Receive) -> None:
        self._local.connect(task_id, receive)

    def disconnect(self, task_id: TaskId) -> None:
        self._local.disconnect(task_id)

    def send(self, message: TaskMessage) -> bool:
        """Hand `message` over without waiting; False where its task is gone, or its node is.

        Raises RecordUnsendable, and InternalError where credit was not respected.
        """
        task_id = recipient_of(message)
        route = self._routes.find(task_id)
        if route is None:
            return self._local.send(message)
        outgoing = self._outgoing.get(route.peer)
        if outgoing is None or self._routes.has_ended(task_id):
            return False
        body: Sequence[Buffer] = ()
        if isinstance(message, Delivery):
            body = encode_batch(message.batch, route.types, where=f"task {message.link.source}")
        outgoing.put(Outbound(message, route.epoch, body))
        self._data.send(outgoing)
        return True
