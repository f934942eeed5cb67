"""The nodes that a job manager counts on, and which of them take the tasks of a plan. Knows nothing of jobs' lives."""

from collections.abc import Sequence

from cluster.jobs.node_port import NodePort
from cluster.jobs.parts import parts_from_tasks
from cluster.jobs.placement import Placement, Strategy, place, rooms_of
from cluster.jobs.room import Placed, Room
from cluster.jobs.run import stays_whole
from cluster.runtime.messages import TaskSpec
from sage.base.errors import NoRoom
from sage.base.ids import NodeId
from sage.base.offer import NodeOffer
from sage.flow.plan import Plan


class Nodes:
    """Nodes by their ids. `taken`, wherever it is asked for, is what the tasks of jobs that are not over hold."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self._nodes: dict[NodeId, tuple[NodePort, NodeOffer]] = {}
        self._closed: set[NodeId] = set()

    def __getitem__(self, node_id: NodeId) -> NodePort:
        return self._nodes[node_id][0]

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._nodes

    def join(self, node_id: NodeId, node: NodePort, offer: NodeOffer) -> None:
        """Count on a node, or on what one that is known offers now."""
        self._nodes[node_id] = (node, offer)

    def leave(self, node_id: NodeId) -> bool:
        """Count on a node no more; return whether it was known."""
        self._closed.discard(node_id)
        return self._nodes.pop(node_id, None) is not None

    def close(self, node_id: NodeId, *, is_closed: bool) -> None:
        """Place nothing new on a node, or do again."""
        (self._closed.add if is_closed else self._closed.discard)(node_id)

    def place(self, plan: Plan, tasks: tuple[TaskSpec, ...], taken: Sequence[Placed]) -> Placement:
        """Return where each task goes; raises NoRoom."""
        offers = {node_id: offer for node_id, (_, offer) in self._nodes.items() if node_id not in self._closed}
        if stays_whole(plan) and len(offers) > 1:
            return self._place_whole(tasks, offers, taken)
        return place(parts_from_tasks(tasks), offers, taken=taken, strategy=self._strategy)

    def rooms(self, taken: Sequence[Placed]) -> list[Room]:
        """Return what is free on each node, closed ones too."""
        return rooms_of({node_id: offer for node_id, (_, offer) in self._nodes.items()}, taken)

    def _place_whole(
        self, tasks: tuple[TaskSpec, ...], offers: dict[NodeId, NodeOffer], taken: Sequence[Placed]
    ) -> Placement:
        """Place all tasks on one node, the one with most free CPUs that can take them."""
        parts, refused = parts_from_tasks(tasks), NoRoom("there is no node")
        for room in sorted(rooms_of(offers, taken), key=lambda room: room.free.cpus, reverse=True):
            try:
                return place(parts, {room.node_id: room.offer}, taken=taken, strategy=self._strategy)
            except NoRoom as error:
                refused = error
        refused.add_note("All steps of a flow with an index share one node.")
        raise refused
