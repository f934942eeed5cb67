"""Who is a member of the cluster: by which connection, in which epoch, how healthy. Pure.

Every membership is an epoch of its own, greater than all before it: what comes in another is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from cluster.jobs.health import Beat, Health, HealthWatch
from cluster.runtime.channel import PeerId
from cluster.runtime.control import Join
from cluster.runtime.states import NodeState
from sage.base.errors import MembershipOver, NameTaken
from sage.base.ids import NodeId
from sage.base.offer import NodeOffer
from sage.flow.runner import NodeView


@dataclass(slots=True)
class MemberNode:
    """`is_closed`: nothing new is placed there. `is_draining`: it ends once nothing runs there.

    `is_cut_off`: its connection is gone; it counts until its lease is over, for it may work as long. `num_refused`: as
    in its last Heartbeat. `key`: that by which it is let in; "" on this machine.
    """

    node_id: NodeId
    peer: PeerId
    epoch: int
    join: Join
    offer: NodeOffer
    is_draining: bool = False
    is_closed: bool = False
    is_cut_off: bool = False
    num_refused: int = 0
    key: str = ""


class Admission(NamedTuple):
    """`replaced`: the same process was a member until now, and has come back clean."""

    member: MemberNode
    replaced: MemberNode | None


class ClusterMembers:
    """The members of one cluster, by name."""

    def __init__(self, beat: Beat, *, first_epoch: int) -> None:
        """`first_epoch`: greater than any that a head of this cluster gave before."""
        self._health = HealthWatch(beat)
        self._next_epoch = first_epoch
        self._members: dict[NodeId, MemberNode] = {}
        self._by_peer: dict[PeerId, MemberNode] = {}

    def admit(self, peer: PeerId, join: Join, now_s: float) -> Admission:
        """Take a node in. Raises NameTaken where another process of its name counts as a member, and MembershipOver for
        a wish that was overtaken by a later one: its connection is given up, and the node works on the other."""
        node_id = NodeId(join.name)
        known = self._members.get(node_id)
        if known is not None and known.join.instance != join.instance:
            what = f"a node named {join.name} is a member already (process {known.join.pid} on {known.join.host})"
            raise NameTaken(what, "Give this one another name, or wait until the other has ended.")
        if known is not None and join.attempt <= known.join.attempt:
            raise MembershipOver(f"node {join.name} has come by another connection since")
        if known is not None:
            self.remove(node_id)
        member = MemberNode(node_id, peer, self._next_epoch, join, join.offer)
        self._next_epoch += 1
        self._members[node_id] = self._by_peer[peer] = member
        self._health.add(node_id, now_s)
        return Admission(member, known)

    def remove(self, node_id: NodeId) -> MemberNode | None:
        """Forget a member and return it; None where it is none."""
        member = self._members.pop(node_id, None)
        if member is not None:
            self._by_peer.pop(member.peer, None)
            self._health.remove(node_id)
        return member

    def cut_off(self, member: MemberNode) -> None:
        """Take nothing from its connection any more: it is lost when its lease is over."""
        member.is_cut_off = True
        self._by_peer.pop(member.peer, None)

    def heard(self, member: MemberNode, now_s: float) -> None:
        self._health.heard(member.node_id, now_s)

    def lost(self, now_s: float) -> list[MemberNode]:
        """Return those that have been silent for too long, and forget them."""
        return [member for node_id in self._health.check(now_s) if (member := self.remove(node_id)) is not None]

    def next_check_s(self) -> float | None:
        """Return when `lost` may find something new."""
        return self._health.next_check_s()

    def of_peer(self, peer: PeerId) -> MemberNode | None:
        return self._by_peer.get(peer)

    def of_node(self, node_id: NodeId) -> MemberNode | None:
        return self._members.get(node_id)

    def health(self, node_id: NodeId) -> Health:
        return self._health.health(node_id)

    def silent_s(self, node_id: NodeId, now_s: float) -> float:
        return self._health.silent_s(node_id, now_s)

    def state(self, member: MemberNode, view: NodeView | None, now_s: float) -> NodeState:
        """Return what is told of a member; `view`: what is placed there, None where that is nothing."""
        health, total = self.health(member.node_id), member.offer.total
        return NodeState(
            view=view if view is not None else NodeView(member.node_id, total, total, 0),
            state="draining" if member.is_draining and health is Health.ALIVE else health.value,
            host=member.join.host,
            pid=member.join.pid,
            epoch=member.epoch,
            silent_s=self.silent_s(member.node_id, now_s),
            labels=dict(member.offer.labels),
            num_refused=member.num_refused,
        )

    def __iter__(self) -> Iterator[MemberNode]:
        return iter(tuple(self._members.values()))

    def __len__(self) -> int:
        return len(self._members)
