"""The nodes of a cluster as its head speaks to them: admits them, passes on what they say and are told, gives them up.

Who is a member `ClusterMembers` decides, and what runs where the job manager. Knows no client.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pykka import ActorRef

from cluster.head.book import JobBook, JobEntry
from cluster.head.collected import Credit
from cluster.head.engine_desk import EngineDesk
from cluster.head.members import ClusterMembers, MemberNode
from cluster.head.model_desk import ModelDesk
from cluster.head.remote_node import OrderToNode, RemoteNode
from cluster.jobs.health import Beat, Health
from cluster.jobs.node_news import CloseNode, NodeJoined, NodeLeft
from cluster.jobs.node_port import Deployment
from cluster.jobs.orders import RunBroke
from cluster.jobs.run_facts import arrived
from cluster.local.plane import ClusterPlane
from cluster.runtime.actor import tell
from cluster.runtime.channel import ControlServer, PeerId
from cluster.runtime.control import (
    Admitted,
    ControlMessage,
    DeployRun,
    EndNode,
    EngineHostEnded,
    Heartbeat,
    HeartbeatTaken,
    InferenceAsk,
    InferenceCancel,
    Join,
    Leave,
    OfferChanged,
    Rejected,
    RunBroken,
    RunCollected,
    RunLogged,
    RunOpened,
    RunProgressed,
    RunSetAside,
    RunStopped,
    RunTaskDrained,
    RunTaskEnded,
    RunTaskSaved,
    TakeMore,
    TurnsSaid,
)
from cluster.runtime.control_clients import LogNews
from cluster.runtime.control_printed import LogLine, PrintedTo, RunPrinted
from cluster.runtime.messages import JobTaskEnded
from cluster.runtime.states import NodeState
from sage.base.clock import Clock
from sage.base.errors import MembershipOver, NodeLost, NotTrusted, SageError, UnknownNode
from sage.base.ids import NodeId
from sage.base.inference import Failure
from sage.base.log import get_log
from sage.flow.runner import NodeView


@dataclass(frozen=True, slots=True)
class NodeDeskPorts:
    """What the desk works with, all on one thread. `forget_client`: a client that does not read is gone. `kill_own`
    and `leave_own`: as in DoorPorts."""

    door: ActorRef[Any]
    server: ControlServer[Any]
    book: JobBook
    models: ModelDesk
    engines: EngineDesk
    manager: ActorRef[Any]
    plane: ClusterPlane
    submitters: Callable[[], tuple[str, ...]]
    forget_client: Callable[[PeerId], object]
    on_members: Callable[[int], object]
    on_turns: Callable[[TurnsSaid], object]
    kill_own: Callable[[NodeId], bool]
    leave_own: Callable[[NodeId], object]
    beat: Beat
    first_epoch: int
    clock: Clock


class NodeDesk:
    """The nodes of one head."""

    def __init__(self, ports: NodeDeskPorts) -> None:
        self._ports = ports
        self._members = ClusterMembers(ports.beat, first_epoch=ports.first_epoch)
        self._dying: dict[NodeId, tuple[MemberNode, SageError]] = {}
        self._admits = True

    def member_of(self, peer: PeerId) -> MemberNode | None:
        return self._members.of_peer(peer)

    # Membership.

    def join(self, peer: PeerId, join: Join, key: str | None) -> None:
        """Take a node in, or say why not; `key` is that by which it was let in, over `tcp://`."""
        if key is not None and join.data.public_key != key:
            return self.reject(peer, NotTrusted(f"node {join.name} takes records by another key than its own"), 0)
        if not self._admits:
            return self.reject(peer, MembershipOver("the cluster is being stopped"), 0)
        try:
            member, replaced = self._members.admit(peer, join, self._ports.clock.monotonic_s())
        except SageError as error:
            return self.reject(peer, error, 0)
        if replaced is not None:
            self._gone(replaced, NodeLost(f"node {replaced.node_id} was cut off and came back"))
        member.key = key or ""
        beat = self._ports.beat
        self._send(member, Admitted(member.node_id, beat.every_s, beat.lease_s, self._ports.plane.models()))
        get_log().info("node joined", node=member.node_id, epoch=member.epoch, host=join.host, pid=join.pid)
        self._tell_joined(member)

    def reject(self, peer: PeerId, error: SageError, epoch: int) -> None:
        """Tell a peer that it is no member, and hear it no more."""
        self._ports.server.send(peer, Rejected(Failure.of(error), may_rejoin=self._admits), epoch)
        self._ports.server.cut_off(peer)

    def give_up(self, member: MemberNode, error: SageError) -> None:
        """Hear a member no more; it is lost once its lease is over, for it may go on as long."""
        get_log().warning("node cut off", node=member.node_id, why=error.what)
        self._members.cut_off(member)
        self._ports.models.forget(member.peer)
        self.reject(member.peer, error, member.epoch)

    def ended(self, node_id: NodeId, error: SageError) -> None:
        """Forget a node that is no more; one that is no member is passed over."""
        if (dying := self._dying.pop(node_id, None)) is not None:
            self._lost(*dying)
        elif (member := self._members.of_node(node_id)) is not None:
            self._lost(member, error)

    def check_health(self) -> None:
        """Forget members that have been silent for too long, and place nothing on suspects.

        The work of one that can be killed is given away once it is dead; others have stopped by themselves.
        """
        for member in self._members.lost(self._ports.clock.monotonic_s()):
            self.reject(member.peer, MembershipOver(f"node {member.node_id} was silent for too long"), member.epoch)
            error = NodeLost(f"node {member.node_id} was not heard for {self._ports.beat.lease_s:g} s")
            if self._ports.kill_own(member.node_id):
                self._dying[member.node_id] = (member, error)
            else:
                self._lost(member, error)
        for member in self._members:
            self._close_if_needed(member)

    def next_check_s(self) -> float | None:
        """Return when `check_health` may find something new."""
        return self._members.next_check_s()

    def stop_admitting(self) -> None:
        self._admits = False

    def _close_if_needed(self, member: MemberNode) -> None:
        is_closed = member.is_draining or self._members.health(member.node_id) is Health.SUSPECT
        if is_closed != member.is_closed:
            member.is_closed = is_closed
            tell(self._ports.manager, CloseNode(member.node_id, is_closed))

    def _lost(self, member: MemberNode, error: SageError) -> None:
        self._members.remove(member.node_id)
        self._ports.server.cut_off(member.peer)
        self._gone(member, error)
        self._ports.on_members(len(self._members))

    def _gone(self, member: MemberNode, error: SageError) -> None:
        get_log().warning("node gone", node=member.node_id, epoch=member.epoch, why=error.what)
        self._ports.models.forget(member.peer)
        self._ports.engines.gone(member.node_id, error)
        tell(self._ports.manager, NodeLeft(member.node_id, error))

    def _tell_joined(self, member: MemberNode) -> None:
        port = RemoteNode(member.node_id, member.epoch, self._ports.door, member.key)
        tell(self._ports.manager, NodeJoined(member.node_id, port, member.offer))
        self._ports.on_members(len(self._members))  # there may be room for what waits for it

    # What nodes say.

    def take(self, member: MemberNode, message: ControlMessage, epoch: int) -> None:
        """Take what a member says, if it says it in its epoch."""
        if epoch != member.epoch:
            over = MembershipOver(f"epoch {epoch} of node {member.node_id} is over; it is in {member.epoch}")
            return self.give_up(member, over)
        ports = self._ports
        match message:
            case Heartbeat(number, num_refused):
                member.num_refused = num_refused
                self._heard(member, number)
            case RunCollected():
                self._collected(member, message)
            case RunLogged() | RunPrinted():
                self._printed(member, message)
            case RunBroken(run_id, failure):
                tell(ports.manager, RunBroke(run_id, failure.error()))
            case InferenceAsk(requests):
                ports.models.ask(member.peer, member.epoch, requests)
            case InferenceCancel(request_ids):
                ports.models.cancel(member.peer, request_ids)
            case TurnsSaid():
                ports.on_turns(message)
            case OfferChanged(offer):
                member.offer = offer
                self._tell_joined(member)
            case EngineHostEnded():
                ports.engines.ended(member.node_id, message)
            case Leave():
                self._lost(member, NodeLost(f"node {member.node_id} has left the cluster"))
            case (
                RunOpened()
                | RunTaskDrained()
                | RunTaskEnded()
                | RunStopped()
                | RunSetAside()
                | RunProgressed()
                | RunTaskSaved()
            ):
                tell(ports.manager, arrived(message, member.node_id))
            case _:
                self.give_up(member, MembershipOver(f"node {member.node_id} said what only clients say"))

    def _heard(self, member: MemberNode, number: int) -> None:
        self._members.heard(member, self._ports.clock.monotonic_s())
        self._send(member, HeartbeatTaken(number))
        self._close_if_needed(member)

    def _collected(self, member: MemberNode, message: RunCollected) -> None:
        """Pass records on to whoever collects them, or keep them."""
        entry = self._ports.book.of_run(message.run_id)
        if entry is None:
            return  # of a run that is over
        news, credits = entry.collected.came(message)
        self.give_credit(entry, credits)
        collector = entry.collected.collector
        if collector is not None and not self._ports.server.send(collector, news):
            self._ports.forget_client(collector)

    def _printed(self, member: MemberNode, said: RunLogged | RunPrinted) -> None:
        entry = self._ports.book.of_run(said.run_id)
        if entry is not None:
            to = said.to if isinstance(said, RunPrinted) else PrintedTo.PRINT
            lines = tuple(LogLine(line, member.node_id, said.step, to) for line in said.lines)
            entry.print(lines)
            for peer in tuple(entry.followers):
                self._ports.server.send(peer, LogNews(entry.job_id, lines))
        if isinstance(said, RunLogged):
            self._send(member, TakeMore(said.run_id, said.task_id, 1))

    # What nodes are told.

    def order(self, order: OrderToNode) -> None:
        """Pass on what the job manager orders, unless the node has come back in another epoch since."""
        member = self._members.of_node(order.node_id)
        if member is None or member.epoch != order.epoch:
            return
        if not isinstance(order.order, Deployment):
            self._send(member, order.order)
        elif (message := self._deploy_run(member, order.order)) is not None:
            self._deploy(member, message)

    def _deploy(self, member: MemberNode, message: DeployRun) -> None:
        try:
            self._send(member, message)
        except SageError as error:  # it is too long to travel: the run fails, and the head goes on
            task_id = next(iter(message.placement))
            tell(self._ports.manager, JobTaskEnded(message.run_id, task_id, False, error))

    def give_credit(self, entry: JobEntry, credits: Iterable[Credit]) -> None:
        """Let tasks of the newest run of a job send more."""
        for task_id, num in credits:
            member = self._members.of_node(entry.nodes.get(task_id, NodeId("")))
            if member is not None:
                self._send(member, TakeMore(entry.run_id, task_id, num))

    def tell(self, node_id: NodeId, message: ControlMessage, epoch: int | None = None) -> bool:
        """Say something to a node, if it is a member, in `epoch` where one is given; return whether it is."""
        member = self._members.of_node(node_id)
        if member is None or member.is_cut_off or epoch not in (None, member.epoch):
            return False
        self._send(member, message)
        return True

    def drain(self, node_id: NodeId) -> None:
        """Place nothing new on a node, and have it end once nothing runs there; raises UnknownNode."""
        member = self._members.of_node(node_id)
        if member is None:
            raise UnknownNode(f"no node is named {node_id}", "See which there are: sage-cluster nodes.")
        member.is_draining = True
        self._ports.leave_own(node_id)
        self._close_if_needed(member)
        self._ports.plane.leave_node(node_id)
        self.end_drained()

    def end_drained(self) -> None:
        """Have drained nodes end on which nothing runs."""
        busy = {node for entry in self._ports.book.live() for node in entry.nodes.values()}
        busy |= self._ports.engines.nodes()
        for member in self._members:
            if member.is_draining and member.node_id not in busy:
                self._send(member, EndNode())

    def end_all(self) -> int:
        """Have every node end; return how many there are."""
        for member in self._members:
            self._send(member, EndNode())
        return len(self._members)

    def states(self, views: dict[NodeId, NodeView]) -> tuple[NodeState, ...]:
        """Return every member, with what the job manager has placed on it."""
        now_s = self._ports.clock.monotonic_s()
        return tuple(self._members.state(member, views.get(member.node_id), now_s) for member in self._members)

    def _deploy_run(self, member: MemberNode, deployment: Deployment) -> DeployRun | None:
        entry = self._ports.book.find(deployment.job_id)
        if entry is None or entry.code is None:
            return None
        if entry.run_id != deployment.run_id or not entry.nodes:
            self._ports.book.begin_run(entry, deployment.run_id, deployment.nodes.items())
        others = {node_id for node_id in deployment.nodes.values() if node_id != member.node_id}
        return DeployRun(
            run_id=deployment.run_id,
            job_id=deployment.job_id,
            code=entry.code,
            submitted_unix_s=entry.submitted_unix_s,
            submitters=self._ports.submitters(),
            outline=entry.outline,
            placement=dict(deployment.nodes),
            peers={other.node_id: other.join.data for other in self._members if other.node_id in others},
            keeping=deployment.keeping,
            devices=deployment.devices_on(member.node_id),
        )

    def _send(self, member: MemberNode, message: ControlMessage) -> None:
        """Send to a member; one that does not read is heard no more, and lost in time."""
        if not member.is_cut_off and not self._ports.server.send(member.peer, message, member.epoch):
            self._members.cut_off(member)
            self._ports.models.forget(member.peer)
