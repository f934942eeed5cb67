"""A network between simulated nodes: a Transport for each, with delays and cuts. Knows nothing of what tasks do.

Within a node a message is handed over at once. Between nodes it is on its way, in order on its link and direction; on
a way that is cut it is lost, which nobody is told here: that is the business of whoever watches nodes.
"""

from collections.abc import Callable

from cluster.runtime.inproc import InprocTransport
from cluster.runtime.links import Grant, Link, TaskMessage, recipient_of
from cluster.runtime.transport import Receive
from sage.base.ids import NodeId, TaskId
from tests.simulation.world import World

Way = frozenset[NodeId]


class SimulatedNetwork:
    """What lies between the nodes."""

    def __init__(self, world: World, *, latency_s: float) -> None:
        self._world = world
        self._latency_s = latency_s
        self._tasks = InprocTransport()
        self._node_of: dict[TaskId, NodeId] = {}
        self._delays_s: dict[Way, float] = {}
        self._cut: set[Way] = set()
        self._arrival_s: dict[tuple[Link, bool], float] = {}
        self.num_lost = 0

    def transport(self, node_id: NodeId) -> "FaultyTransport":
        """Return what the tasks of one node send and receive by."""
        return FaultyTransport(self, node_id)

    def delay(self, one: NodeId, other: NodeId, by_s: float) -> None:
        """Have every message between two nodes take `by_s` longer."""
        self._delays_s[frozenset((one, other))] = by_s

    def cut(self, one: NodeId, other: NodeId) -> None:
        """Lose every message between two nodes, what is on its way included, until the way is mended."""
        self._cut.add(frozenset((one, other)))

    def mend(self, one: NodeId, other: NodeId) -> None:
        self._cut.discard(frozenset((one, other)))

    def lose(self, node_id: NodeId) -> None:
        """Let none of a node's tasks be reached any more."""
        for task_id in [task_id for task_id, of in self._node_of.items() if of == node_id]:
            self.disconnect(task_id)

    def connected(self) -> tuple[TaskId, ...]:
        """Return the tasks that can be reached."""
        return tuple(self._node_of)

    # What transports ask.

    def connect(self, task_id: TaskId, node_id: NodeId, receive: Receive) -> None:
        self._tasks.connect(task_id, receive)
        self._node_of[task_id] = node_id

    def disconnect(self, task_id: TaskId) -> None:
        self._tasks.disconnect(task_id)
        self._node_of.pop(task_id, None)

    def send(self, sender: NodeId, message: TaskMessage) -> bool:
        receiver = self._node_of.get(recipient_of(message))
        if receiver is None or receiver == sender:
            return self._tasks.send(message)
        way = frozenset((sender, receiver))
        now_s = self._world.clock.monotonic_s()
        direction = (message.link, isinstance(message, Grant))
        takes_s = self._world.rng.random() * self._latency_s + self._delays_s.get(way, 0.0)
        at_s = max(self._arrival_s.get(direction, 0.0) + 1e-9, now_s + takes_s)
        self._arrival_s[direction] = at_s
        self._world.later(at_s - now_s, lambda: self._arrive(way, message))
        return True

    def _arrive(self, way: Way, message: TaskMessage) -> None:
        if way in self._cut or not self._tasks.send(message):
            self.num_lost += 1


class FaultyTransport:
    """The Transport of one node."""

    def __init__(self, network: SimulatedNetwork, node_id: NodeId) -> None:
        self._network = network
        self._node_id = node_id

    def connect(self, task_id: TaskId, receive: Callable[[TaskMessage], bool]) -> None:
        self._network.connect(task_id, self._node_id, receive)

    def disconnect(self, task_id: TaskId) -> None:
        self._network.disconnect(task_id)

    def send(self, message: TaskMessage) -> bool:
        return self._network.send(self._node_id, message)
