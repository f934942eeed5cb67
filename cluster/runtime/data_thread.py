"""The thread that owns a node's data sockets: sends what others left waiting, takes what came, notices who is lost.

It waits for descriptors alone, and drains each socket without waiting. Knows nothing of what tasks do.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cluster.runtime.columns import BadFrame, Buffer
from cluster.runtime.data_sockets import Context, DataSockets
from cluster.runtime.listener import Listener, PeerSession
from cluster.runtime.outgoing import Outgoing
from cluster.runtime.peer_link import PeerLink
from cluster.runtime.routes import Routes
from cluster.runtime.scheduler import Poll
from cluster.runtime.transport import Receive
from cluster.runtime.wire import Granted, NotHere, Refused, ToTask, Welcome, message_of
from cluster.runtime.woken_poll import WokenPoll
from sage.base.clock import Clock
from sage.base.errors import NodeLost, SageError
from sage.base.ids import NodeId, TaskId
from sage.base.log import get_log


@dataclass(frozen=True, slots=True)
class PeerJoined:
    """A peer that was added answers."""

    peer: NodeId


@dataclass(frozen=True, slots=True)
class PeerLost:
    """Nothing goes to this peer any more, and what was on its way may be gone; add it again to go on."""

    peer: NodeId
    error: SageError


@dataclass(frozen=True, slots=True)
class TaskGone:
    """A peer told that a task is not there any more; what is sent to it is refused from now on."""

    peer: NodeId
    task_id: TaskId


DataFact = PeerJoined | PeerLost | TaskGone


@dataclass(frozen=True, slots=True)
class AddPeer:
    outgoing: Outgoing


@dataclass(frozen=True, slots=True)
class DropPeer:
    outgoing: Outgoing


@dataclass(frozen=True, slots=True)
class WireStats:
    """Numbers since the start. `num_refused`: connections; `num_not_here`: messages for tasks that are not here."""

    num_sent: int
    num_received: int
    num_not_here: int
    num_refused: int
    num_ignored: int


@dataclass(frozen=True, slots=True)
class DataPorts:
    """What the thread works with. `deliver` and `report` are called on it and do not wait.

    `outgoing` holds the peers that were added; the thread takes out whom it loses.
    """

    node: NodeId
    sockets: DataSockets
    routes: Routes
    outgoing: dict[NodeId, Outgoing]
    deliver: Receive
    report: Callable[[DataFact], object]
    clock: Clock
    poll: Callable[[], Poll] = WokenPoll


class DataThread:
    """`run` is the thread; `tell`, `send` and `wake` may be called on any."""

    def __init__(self, context: Context, ports: DataPorts, address: str) -> None:
        """Bind `address`; raises ConfigInvalid."""
        self._context = context
        self._ports = ports
        self._orders: deque[AddPeer | DropPeer] = deque()
        self._links: dict[NodeId, PeerLink] = {}
        self._of_fd: dict[int, PeerLink] = {}
        self._num_sent = 0
        self._num_refused = 0
        self._has_come = False
        self._is_waiting = False
        self._is_ending = False
        self._keeper = ports.sockets.keeper(context)
        try:
            self._listener = Listener(context, ports.sockets, address, ports.node, self._deliver, self._rejected)
        except SageError:
            if self._keeper is not None:
                self._keeper.close()
            raise
        self.address = self._listener.address
        self._listener_fd = self._listener.socket.fileno()
        self._descriptors = ports.poll()
        self._descriptors.watch(self._listener_fd)
        if self._keeper is not None:
            self._descriptors.watch(self._keeper.fd)

    # On any thread.

    def tell(self, order: AddPeer | DropPeer) -> None:
        self._orders.append(order)
        self.wake()

    def send(self, outgoing: Outgoing) -> None:
        """Send what waits for a peer here and now, or let the thread do so: it takes turns with who sends already."""
        link = self._links.get(outgoing.peer.node)
        if link is None or link.outgoing is not outgoing or link.send_here():
            self.wake()

    def wake(self) -> None:
        """Let the thread look at its queues. One byte wakes it, however many put before it looks."""
        if self._is_waiting:
            self._is_waiting = False
            self._descriptors.wake()

    def end(self) -> None:
        """Let the thread end and close everything."""
        self._is_ending = True
        self._descriptors.wake()

    def release(self) -> None:
        """Let go of what wakes the thread, once it has ended and nobody sends any more."""
        self._descriptors.close()

    def stats(self) -> WireStats:
        num_sent = self._num_sent + sum(link.num_sent for link in list(self._links.values()))
        came = self._listener
        return WireStats(num_sent, came.num_received, came.num_not_here, self._num_refused, came.num_ignored)

    # On the thread.

    def run(self) -> None:
        try:
            while not self._is_ending:
                self._turn()
        except BaseException as error:  # noqa: BLE001 - tasks must learn that nothing moves any more, whatever it is
            get_log(node=self._ports.node).exception("the data thread broke")
            for link in list(self._links.values()):
                self._lose(link, NodeLost(f"node {link.peer.node} is out of reach: our data thread broke: {error!r}"))
        finally:
            self._close()

    def _turn(self) -> None:
        """Send what waits and take what came, a bounded part of each; wait where there is nothing of either."""
        readable = self._descriptors.readable(self._wait_s())
        self._is_waiting = False
        for fd in readable:
            if fd == self._listener_fd:
                self._has_come = True
            elif (link := self._of_fd.get(fd)) is not None:
                self._guarded(link, self._watch if fd == link.monitor_fd else self._hear)
            elif self._keeper is not None:
                self._keeper.drain()
        while self._orders:
            self._obey(self._orders.popleft())
        if self._has_come:
            self._has_come = self._listener.drain()
        for link in list(self._links.values()):
            if link.has_work():
                self._guarded(link, self._hear)
            if not link.is_welcome:
                self._guarded(link, self._watch)

    def _wait_s(self) -> float | None:
        """Return how long the thread may wait; whoever puts something from now on wakes it."""
        self._is_waiting = True
        if self._has_come or self._orders or self._is_ending:
            return 0.0
        due_s: float | None = None
        for link in self._links.values():
            if link.has_work():
                return 0.0
            if (look_s := link.due_s()) is not None:
                due_s = look_s if due_s is None else min(due_s, look_s)
        return None if due_s is None else max(0.0, due_s - self._ports.clock.monotonic_s())

    def _guarded(self, link: PeerLink, do: Callable[[PeerLink], None]) -> None:
        try:
            do(link)
        except SageError as error:
            self._lose(link, error)

    def _watch(self, link: PeerLink) -> None:
        link.watch(self._ports.clock.monotonic_s())

    def _hear(self, link: PeerLink) -> None:
        for answer in link.pump():
            match answer:
                case Welcome():
                    link.welcomed(answer)
                    self._ports.report(PeerJoined(link.peer.node))
                case NotHere(task=task, epoch=epoch):
                    if self._ports.routes.end(TaskId(task), link.peer.node, epoch):
                        self._ports.report(TaskGone(link.peer.node, TaskId(task)))
                case Refused(why=why):
                    raise NodeLost(f"node {link.peer.node} does not hear us any more: {why}")

    # Peers.

    def _obey(self, order: AddPeer | DropPeer) -> None:
        match order:
            case AddPeer(outgoing):
                self._add(outgoing)
            case DropPeer(outgoing):
                for link in [link for link in self._links.values() if link.outgoing is outgoing]:
                    self._remove(link)

    def _add(self, outgoing: Outgoing) -> None:
        ports = self._ports
        now_s = ports.clock.monotonic_s()
        try:
            link = PeerLink(self._context, ports.sockets, outgoing, ports.node, now_s=now_s)
        except SageError as error:
            self._strike_off(outgoing)
            ports.report(PeerLost(outgoing.peer.node, error))
            return
        self._links[outgoing.peer.node] = link
        for fd in (link.fd, link.monitor_fd):
            self._of_fd[fd] = link
            self._descriptors.watch(fd)
        self._guarded(link, self._hear)  # a socket's descriptor speaks only to who has looked and found nothing

    def _lose(self, link: PeerLink, error: SageError) -> None:
        if self._links.get(link.peer.node) is not link:
            return
        get_log(node=self._ports.node).warning("peer lost", peer=link.peer.node, why=error.what)
        self._strike_off(link.outgoing)
        self._remove(link)
        self._ports.report(PeerLost(link.peer.node, error))

    def _strike_off(self, outgoing: Outgoing) -> None:
        if self._ports.outgoing.get(outgoing.peer.node) is outgoing:  # else it was dropped, and perhaps added anew
            self._ports.outgoing.pop(outgoing.peer.node, None)

    def _remove(self, link: PeerLink) -> None:
        del self._links[link.peer.node]
        self._num_sent += link.num_sent
        for fd in (link.fd, link.monitor_fd):
            del self._of_fd[fd]
            self._descriptors.unwatch(fd)
        link.close()
        self._listener.forget(link.peer.node)
        self._has_come = True  # saying so may have used up the listener's signal

    # What comes.

    def _deliver(self, session: PeerSession, head: ToTask, body: Sequence[Buffer]) -> TaskId | None:
        here, there = TaskId(head.target), TaskId(head.source)
        if isinstance(head, Granted):
            here, there = there, here
        route = self._ports.routes.find(there)
        known = self._ports.outgoing.get(session.node)
        if route is None or known is None or (route.peer, route.epoch) != (session.node, head.epoch):
            return here
        if session.public_key not in (None, known.peer.public_key):  # None: it came where strangers cannot
            raise BadFrame(f"who says that it is node {session.node} does not have its key")
        return None if self._ports.deliver(message_of(head, body, route.types)) else here

    def _rejected(self, session: PeerSession | None, error: SageError) -> None:
        self._num_refused += 1
        node = session.node if session is not None else None
        get_log(node=self._ports.node).warning("connection refused", peer=node, why=error.what)
        link = self._links.get(session.node) if session is not None else None
        if link is not None and session is not None and session.public_key in (None, link.peer.public_key):
            self._lose(link, error)

    # The end.

    def _close(self) -> None:
        for link in list(self._links.values()):
            self._strike_off(link.outgoing)
            self._remove(link)
        self._listener.close()
        if self._keeper is not None:
            self._keeper.close()
