"""The nodes that a job manager counts on, and which of them take tasks and engines. Knows nothing of jobs' lives."""

from collections.abc import Sequence

from cluster.jobs.broken_gpus import struck
from cluster.jobs.explain import explain
from cluster.jobs.node_news import CloseNode, LetEngineGo, NodeJoined
from cluster.jobs.node_port import NodePort, OnBreak, PlacedEngine
from cluster.jobs.parts import Part, parts_from_tasks
from cluster.jobs.placement import Placement, Strategy, place, rooms_of
from cluster.jobs.room import Placed, Room
from cluster.jobs.run import stays_whole
from cluster.runtime.messages import TaskSpec
from sage.base.errors import NoRoom
from sage.base.ids import NodeId
from sage.base.offer import NodeOffer
from sage.flow.plan import Plan
from sage.flow.runner import NodeView


class Nodes:
    """Nodes by their ids. `taken`, wherever it is asked for, is what the tasks of jobs that are not over hold; what
    engines hold is kept here."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self._nodes: dict[NodeId, tuple[NodePort, NodeOffer]] = {}
        self._closed: set[NodeId] = set()
        self._engines: dict[str, Placed] = {}
        self._on_break: dict[str, OnBreak] = {}

    def __getitem__(self, node_id: NodeId) -> NodePort:
        return self._nodes[node_id][0]

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._nodes

    def change(self, news: NodeJoined | CloseNode | LetEngineGo) -> None:
        """Take what makes room, or takes it away: a node, or what one that is known offers now; an engine's end."""
        match news:
            case NodeJoined(node_id, node, offer):
                self._nodes[node_id] = (node, offer)
                for placed, error in list(struck(self._engines.values(), node_id, offer)):
                    self._on_break[placed.part.id](error)
            case CloseNode(node_id, is_closed):
                (self._closed.add if is_closed else self._closed.discard)(node_id)
            case LetEngineGo(part_id):
                self._engines.pop(part_id, None)
                self._on_break.pop(part_id, None)

    def leave(self, node_id: NodeId) -> bool:
        """Count on a node no more; return whether it was known. The engines there are gone with it."""
        self._engines = {id: placed for id, placed in self._engines.items() if placed.node_id != node_id}
        self._closed.discard(node_id)
        return self._nodes.pop(node_id, None) is not None

    def place(self, plan: Plan, tasks: tuple[TaskSpec, ...], taken: Sequence[Placed]) -> Placement:
        """Return where each task goes; raises NoRoom."""
        return self._place(plan, tasks, [*taken, *self._engines.values()])

    def check(
        self, plan: Plan, tasks: tuple[TaskSpec, ...], engines: Sequence[Part], taken: Sequence[Placed]
    ) -> Placement:
        """Return where each task would go beside engines that would be started first; raises NoRoom."""
        held = [*taken, *self._engines.values()]
        new = [part for part in engines if part.id not in self._engines]
        return self._place(plan, tasks, [*held, *self._placed(new, held)])

    def place_engines(self, parts: Sequence[Part], taken: Sequence[Placed], on_break: OnBreak) -> list[PlacedEngine]:
        """Return where each goes, and hold it until it is let go or placed again; raises NoRoom, and holds nothing.

        `on_break`: called where a device that one of them holds is of no use any more.
        """
        ids = {part.id for part in parts}
        others = {id: placed for id, placed in self._engines.items() if id not in ids}
        placed = self._placed(parts, [*taken, *others.values()])
        self._engines = {**others, **{each.part.id: each for each in placed}}
        self._on_break |= dict.fromkeys(ids, on_break)
        return [PlacedEngine(each, self[each.node_id]) for each in placed]

    def explain(self, placement: Placement) -> list[str]:
        """Return a line for each part, and for each engine that one of them asks: where it is and why."""
        asked = {model for placed in placement.placed for model in placed.part.asks}
        engines = [placed for placed in self._engines.values() if not asked.isdisjoint(placed.part.serves)]
        return explain(Placement((*placement.placed, *engines)))

    def rooms(self, taken: Sequence[Placed]) -> list[Room]:
        """Return what is free on each node, closed ones too."""
        offers = {node_id: offer for node_id, (_, offer) in self._nodes.items()}
        return rooms_of(offers, [*taken, *self._engines.values()])

    def views(self, taken: Sequence[Placed]) -> list[NodeView]:
        """Return every node as others see it."""
        return [
            NodeView(room.node_id, room.offer.total, room.free, room.num_parts - room.num_engines, self._on(room))
            for room in self.rooms(taken)
        ]

    def _on(self, room: Room) -> tuple[str, ...]:
        return tuple(placed.part.id for placed in self._engines.values() if placed.node_id == room.node_id)

    def _open(self) -> dict[NodeId, NodeOffer]:
        return {node_id: offer for node_id, (_, offer) in self._nodes.items() if node_id not in self._closed}

    def _placed(self, parts: Sequence[Part], taken: Sequence[Placed]) -> tuple[Placed, ...]:
        return place(parts, self._open(), taken=taken, strategy=self._strategy).placed

    def _place(self, plan: Plan, tasks: tuple[TaskSpec, ...], taken: Sequence[Placed]) -> Placement:
        offers = self._open()
        if stays_whole(plan) and len(offers) > 1:
            return self._place_whole(tasks, offers, taken)
        return place(parts_from_tasks(tasks), offers, taken=taken, strategy=self._strategy)

    def _place_whole(
        self, tasks: tuple[TaskSpec, ...], offers: dict[NodeId, NodeOffer], taken: Sequence[Placed]
    ) -> Placement:
        """Place all tasks on one node that can take them: with most of their engines, then with most free CPUs."""
        parts, refused = parts_from_tasks(tasks), NoRoom("there is no node")
        asked = tuple(dict.fromkeys(model for part in parts for model in part.asks))
        for room in sorted(rooms_of(offers, taken), key=lambda room: (-len(room.hosts(asked)), -room.free.cpus)):
            try:
                return place(parts, {room.node_id: room.offer}, taken=taken, strategy=self._strategy)
            except NoRoom as error:
                refused = error
        refused.add_note("All steps of a flow with an index share one node.")
        raise refused
