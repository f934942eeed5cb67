"""HeadDoor: the actor that owns the head's sockets and speaks to nodes and clients. Decides nothing by itself.

What comes from nodes goes to `NodeDesk`, what comes from clients to `ClientDesk`.
"""

from collections.abc import Hashable
from types import TracebackType

from cluster.head.all_models import AllModels
from cluster.head.chat_desk import ChatDesk, ChatPorts
from cluster.head.client_desk import LEASE_S, ClientDesk, ClientPorts, SavepointEnded
from cluster.head.door_ports import DoorMessage, DoorPorts, FromPeer, NodeProcessEnded, StopAll
from cluster.head.engine_desk import EngineDesk
from cluster.head.engine_host import EndHostOn, StartHostOn
from cluster.head.log_desk import LogDesk
from cluster.head.model_desk import ModelDesk, RepliesFor
from cluster.head.node_desk import NodeDesk, NodeDeskPorts
from cluster.head.remote_node import OrderToNode
from cluster.head.state_desk import StateDesk
from cluster.head.submitter import JobChanged, ServingBegun, SubmissionEnded
from cluster.jobs.orders import CancelJob
from cluster.runtime.actor import Actor, ActorEnded, ActorFailed, tell, watch
from cluster.runtime.channel import PeerBroke, PeerId, PeerMessage
from cluster.runtime.control import InferenceReplies, Join, StopRun
from cluster.runtime.control_clients import ClientToHead, Declined, JobNews
from cluster.runtime.control_engine_log import HostLogRead
from cluster.runtime.control_state import StateFound
from cluster.runtime.enrolment import Enrol, Enrolled
from cluster.runtime.numbering import OutOfOrder
from sage.base.errors import ClusterUnreachable, MembershipOver, NodeLost, SageError
from sage.base.ids import NodeId
from sage.base.inference import Failure
from sage.base.log import get_log

LAST_WORDS_MS = 500
_NODES_END_S = 3.0
_HEALTH, _CLIENTS, _CHATS, _STOP = "health", "clients", "chats", "stop"


class HeadDoor(Actor[DoorMessage]):
    """Not restarted: its sockets are its state. Where it breaks, the head ends."""

    def __init__(self, ports: DoorPorts) -> None:
        super().__init__("head door", clock=ports.clock, scheduler=ports.scheduler)
        self._ports = ports
        self._book = ports.book
        self._chats = ChatDesk(self._chat_ports())
        self._models = ModelDesk(AllModels(self._chats, ports.plane), lambda replies: tell(self.actor_ref, replies))
        self._engines = EngineDesk(
            lambda node_id, message, epoch: self._nodes.tell(node_id, message, epoch),
            lambda: self._nodes.end_drained(),
        )
        self._nodes = NodeDesk(self._node_ports())
        self._states = StateDesk(self._book, self._nodes.tell, ports.server.send, ports.clock.monotonic_s)
        self._logs = LogDesk(self._engines, self._nodes.tell, ports.server.send, ports.clock.monotonic_s)
        self._clients = ClientDesk(self._client_ports())
        self._num_not_trusted = 0
        self._is_stopping = False
        self._are_nodes_ending = False

    def on_start(self) -> None:
        for fd in self._ports.server.fds():
            self.watch_fd(fd)
        if self._ports.trust.keeper_fd is not None:
            self.watch_fd(self._ports.trust.keeper_fd)
        self.set_timer(_CLIENTS, LEASE_S / 2)
        for part in (self._ports.manager, self._ports.submitter):
            watch(part, self.actor_ref)

    def receive(self, message: DoorMessage) -> None:
        match message:
            case OrderToNode():
                self._nodes.order(message)
                if isinstance(message.order, StopRun):
                    self._chats.run_ends(message.order.run_id)
            case RepliesFor(peer, epoch):
                for part in self._models.answered(message):
                    self._ports.server.send(peer, InferenceReplies(part), epoch)
            case SubmissionEnded():
                self._clients.submitted(message)
            case ServingBegun():
                self._clients.serving_begun(message)
            case SavepointEnded():
                self._clients.savepoint_ended(message)
            case JobChanged():
                self._job_changed(message)
            case NodeProcessEnded(name, how):
                self._nodes.ended(NodeId(name), NodeLost(f"node {name} {how}"))
            case StartHostOn() | EndHostOn():
                self._engines.order(message)
            case StopAll():
                self._stop_all()
            case ActorEnded(_, name) | ActorFailed(_, name):
                if not self._is_stopping:
                    get_log().error("the head ends: a part of it is gone", part=name)
                self._ports.on_stop_asked()
        self._drain()

    def on_readable(self, fd: int) -> None:
        if fd == self._ports.trust.keeper_fd:
            self._ports.trust.drain_keeper()
        self._drain()

    def on_timer(self, timer_id: Hashable) -> None:
        match timer_id:
            case "health":
                self._nodes.check_health()
            case "chats":
                self._chats.on_due()
            case "clients":
                self._clients.forget_silent()
                self.set_timer(_CLIENTS, LEASE_S / 2)
            case _ if not self._are_nodes_ending:
                self._end_nodes()
            case _:
                self._ports.on_stopped()
        self._drain()

    def on_stop(self) -> None:
        self._ports.server.close(last_words_ms=LAST_WORDS_MS)

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the head: nobody can be spoken to any more."""
        self._ports.server.close()
        self._ports.on_stop_asked()
        self._ports.on_stopped()

    def _drain(self) -> None:
        for came in self._ports.server.drain():
            if isinstance(came, PeerBroke):
                self._broke(came)
            else:
                self._take(came)
        if (due_s := self._nodes.next_check_s()) is not None:
            self.set_timer(_HEALTH, max(0.0, due_s - self.clock.monotonic_s()))

    def _take(self, came: PeerMessage[FromPeer]) -> None:
        message, member = came.message, self._nodes.member_of(came.peer)
        try:
            self._ports.trust.check_may_say(came.key, message)
        except SageError as error:
            self._num_not_trusted += 1
            return self._broke(PeerBroke(came.peer, error))
        if isinstance(message, Enrol):
            self._enrol(came.peer, came.key, message)
        elif isinstance(message, Join):
            self._nodes.join(came.peer, message, came.key)
        elif isinstance(message, StateFound) and member is not None:
            self._states.found(member.node_id, message)
        elif isinstance(message, HostLogRead) and member is not None:
            self._logs.read(member.node_id, message)
        elif member is not None:
            self._nodes.take(member, message, came.epoch)
        elif isinstance(message, ClientToHead):
            self._clients.take(came.peer, message)
        else:
            self._nodes.reject(came.peer, MembershipOver("the head does not count this node as a member"), came.epoch)

    def _enrol(self, peer: PeerId, key: str | None, message: Enrol) -> None:
        """Put a newcomer's keys on the list; it comes back with them, on another connection."""
        try:
            answer: Enrolled | Declined = self._ports.trust.enrol(key, message)
        except SageError as error:
            answer = Declined(None, Failure.of(error))
        self._ports.server.send(peer, answer)
        self._ports.server.cut_off(peer)

    def _broke(self, broke: PeerBroke) -> None:
        """Tell a peer that broke the protocol what it did, once, and hear it no more."""
        get_log().warning("peer refused", why=broke.error.what)
        member = self._nodes.member_of(broke.peer)
        if member is not None:
            self._nodes.give_up(member, broke.error)
        elif self._clients.knows(broke.peer):
            error = broke.error
            if isinstance(error, OutOfOrder):
                error = ClusterUnreachable(f"the connection to the head broke: {error.what}", "Connect anew.")
            self._ports.server.send(broke.peer, Declined(None, Failure.of(error)))
            self._clients.forget(broke.peer)
            self._ports.server.cut_off(broke.peer)
        else:
            self._nodes.reject(broke.peer, broke.error, 0)

    def _job_changed(self, changed: JobChanged) -> None:
        entry = self._book.find(changed.job_id)
        if entry is None:
            return
        entry.view = changed.view
        self._chats.job_changed(entry)
        news = JobNews(entry.state())
        for peer in tuple(entry.watchers):
            if not self._ports.server.send(peer, news):
                self._clients.forget(peer)
        if changed.view.is_over:
            self._book.bound_kept()
            self._nodes.end_drained()
            if self._is_stopping and not self._are_nodes_ending and not self._book.live():
                self._end_nodes()

    # The end.

    def _stop_all(self) -> None:
        """Cancel every job; the nodes end once none is left, or the time for it is over."""
        if self._is_stopping:
            return
        self._is_stopping = True
        self._nodes.stop_admitting()
        for entry in self._book.live():
            tell(self._ports.manager, CancelJob(entry.job_id))
        if self._book.live():
            self.set_timer(_STOP, self._ports.stop_timeout_s + 0.5)
        else:
            self._end_nodes()

    def _end_nodes(self) -> None:
        self._are_nodes_ending = True
        self.set_timer(_STOP, _NODES_END_S)
        if not self._nodes.end_all():
            self._ports.on_stopped()

    def _members_are(self, num_members: int) -> None:
        self._ports.on_members(num_members)
        if self._are_nodes_ending and not num_members:
            self._ports.on_stopped()

    # What the desks are lent.

    def _node_ports(self) -> NodeDeskPorts:
        ports = self._ports
        return NodeDeskPorts(
            door=self.actor_ref,
            server=ports.server,
            book=self._book,
            models=self._models,
            engines=self._engines,
            manager=ports.manager,
            plane=ports.plane,
            submitters=ports.trust.submitters,
            forget_client=lambda peer: self._clients.forget(peer),
            on_members=self._members_are,
            kill_own=ports.kill_own,
            leave_own=ports.leave_own,
            on_turns=lambda said: self._chats.hear(said.run_id, said.news),
            beat=ports.beat,
            first_epoch=ports.first_epoch,
            clock=ports.clock,
        )

    def _chat_ports(self) -> ChatPorts:
        return ChatPorts(
            book=self._book,
            send=lambda node_id, message: self._nodes.tell(node_id, message),
            wake_at=lambda at_s: self.set_timer(_CHATS, max(0.0, at_s - self.clock.monotonic_s())),
            is_model=self._ports.plane.knows,
            settings=self._ports.chat,
            clock=self.clock,
        )

    def _client_ports(self) -> ClientPorts:
        ports = self._ports
        door = self.actor_ref
        return ClientPorts(
            cluster=ports.cluster,
            pid=ports.pid,
            book=self._book,
            chats=self._chats,
            models=self._models,
            nodes=self._nodes,
            states=self._states,
            logs=self._logs,
            plane=ports.plane,
            manager=ports.manager,
            submitter=ports.submitter,
            send=ports.server.send,
            disconnect=ports.server.forget,
            stop=ports.on_stop_asked,
            num_refused=lambda: ports.server.num_refused + self._num_not_trusted,
            tell_door=lambda ended: tell(door, ended),
            clock=ports.clock,
            heartbeat_s=ports.beat.every_s * 4,
            epoch=ports.first_epoch,
            returns_within_s=ports.returns_within_s,
        )
