"""Member: the actor that speaks to the head for a node. What it does about its membership `Standing` decides.

It owns the connection: what comes becomes orders to the node's actor, what that says, or asks of models, goes back.
"""

from collections.abc import Hashable, Sequence
from types import TracebackType

import msgspec

from cluster.jobs.lease import Lease
from cluster.jobs.run_facts import travelling
from cluster.node.engine_hosts import EngineHosts
from cluster.node.loading import LoadingFailed, RunLoaded, begin_loading, declined
from cluster.node.member_line import MemberLine
from cluster.node.member_ports import (
    EndMember,
    FactOfNode,
    MemberMessage,
    MemberPorts,
    ModelsAsked,
    OfferIs,
    SayToHead,
    TasksPrinted,
    TurnsSpoken,
)
from cluster.node.model_asker import ModelAsker
from cluster.node.running import Rest, Running
from cluster.node.standing import (
    JOIN_TIMEOUT_S,
    Disconnect,
    EndNodeNow,
    Reconnect,
    RetryIn,
    Stand,
    Standing,
    StandOrder,
    StopRuns,
)
from cluster.node.turns_here import TurnsHere
from cluster.runtime.actor import Actor, stop, tell
from cluster.runtime.channel import ChannelLost
from cluster.runtime.control import (
    Admitted,
    BeginRun,
    CheckpointRun,
    ControlMessage,
    DeployRun,
    EndEngineHost,
    EndNode,
    HeadToNode,
    Heartbeat,
    HeartbeatTaken,
    InferenceCancel,
    InferenceReplies,
    Leave,
    OfferChanged,
    Rejected,
    RunBroken,
    RunCollected,
    StartEngineHost,
    StopRun,
    TakeMore,
    TurnsAsked,
    TurnsWithdrawn,
)
from cluster.runtime.control_engine_log import ReadHostLog
from cluster.runtime.control_state import LookUpState
from cluster.runtime.data_thread import PeerLost
from cluster.runtime.messages import BeginJob, CheckpointJob, DeployTasks, JobStopped, NodeFact, StopJob
from sage.base.errors import ClusterUnreachable, InternalError, MembershipOver, SageError
from sage.base.ids import JobId, RequestId
from sage.base.inference import Failure
from sage.base.log import get_log

_NODE_ENDS_S = 1.0
_JOIN, _RETRY, _BEAT, _LEASE, _PRINTED = "join", "retry", "beat", "lease", "printed"


class Member(Actor[MemberMessage]):
    """Not restarted: where it breaks, its process ends."""

    def __init__(self, ports: MemberPorts) -> None:
        super().__init__("member", clock=ports.clock, scheduler=ports.scheduler)
        self._ports = ports
        self._offer = ports.join.offer
        self._standing = Standing()
        self._running = Running(
            lambda message: tell(self.actor_ref, SayToHead(message)), self.set_timer, ports.scheduler
        )
        self._asking = ModelAsker(lambda: tell(self.actor_ref, ModelsAsked()))
        self._turns = TurnsHere(lambda: tell(self.actor_ref, TurnsSpoken()), ports.clock)
        self._hosts = EngineHosts(self, ports.start_host, self._send)
        self._lease = Lease(ports.clock)
        self._line = MemberLine(self, ports.connect)
        self._heartbeat_s = self._lease_s = 0.0
        self._node = ports.start_node(
            lambda fact: tell(self.actor_ref, FactOfNode(fact)), self._asking.inference, self._turns.of_run
        )

    def on_start(self) -> None:
        self._ports.printed.knock_by(lambda: tell(self.actor_ref, TasksPrinted()))
        self._obey(self._standing.connect(self.clock.monotonic_s()))
        self._drain()  # the descriptor of a socket speaks to who has looked and found nothing

    def receive(self, message: MemberMessage) -> None:
        self._check_lease()
        match message:
            case FactOfNode(fact):
                self._report(fact)
            case SayToHead(said):
                self._send(said)
                if isinstance(said, RunCollected):
                    self._running.has_left(said.run_id, said.task_id)
            case ModelsAsked():
                self._ask_models()
            case TurnsSpoken():
                for news in self._turns.outgoing():
                    self._send(news)
            case TasksPrinted():
                self.set_timer(_PRINTED, self._ports.printed.every_s)
            case OfferIs(offer):
                self._offer = offer
                self._send(OfferChanged(offer))
            case RunLoaded():
                self._deploy(message)
            case LoadingFailed(order, error):
                self._decline(order, error)
            case PeerLost():
                self._tell_broken(message)
            case EndMember():
                self._obey(self._standing.told_to_end())
        self._drain()

    def on_readable(self, fd: int) -> None:
        self._check_lease()
        self._hosts.readable(fd)
        self._drain()

    def on_timer(self, timer_id: Hashable) -> None:
        match timer_id:
            case "join":
                if self._standing.stand is Stand.JOINING:
                    self._lost(ClusterUnreachable("the head did not answer the wish to join"))
            case "retry":
                self._obey(self._standing.connect(self.clock.monotonic_s()))
            case "beat":
                self._beat()
            case "hosts":
                self._hosts.ask()
            case "printed":
                self._send_printed()
            case Rest():
                self._running.has_rested(timer_id)
            case _:
                self._check_lease()
        self._drain()

    def on_stop(self) -> None:
        self._let_go()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lease.end()
        self._let_go()
        self._ports.on_end(InternalError(f"the member of this node broke: {exception_value!r}"))

    def _obey(self, orders: list[StandOrder]) -> None:
        for order in orders:
            match order:
                case Reconnect():
                    self._connect()
                case Disconnect():
                    self._disconnect()
                case StopRuns():
                    self._lease.end()
                    self._hosts.end_all()
                    for run_id in self._standing.runs:
                        self._stop_run(run_id)
                case RetryIn(after_s):
                    self.set_timer(_RETRY, after_s)
                case EndNodeNow(error):
                    self._send(Leave())
                    self._ports.on_end(error)

    def _connect(self) -> None:
        try:
            self._line.open()
        except SageError as error:
            return self._lost(error)
        self._send(msgspec.structs.replace(self._ports.join, offer=self._offer, attempt=self._line.num_opened))
        self.set_timer(_JOIN, JOIN_TIMEOUT_S)

    def _disconnect(self) -> None:
        for timer in (_JOIN, _BEAT, _LEASE):
            self.cancel_timer(timer)
        self._line.close()

    def _admitted(self, message: Admitted, epoch: int) -> None:
        self._line.epoch, self._heartbeat_s, self._lease_s = epoch, message.heartbeat_s, message.lease_s
        self._lease = Lease(self.clock)  # the one before has ended for good: what is stuck under it stays without
        self._hold_until(self._standing.admitted(message.lease_s))
        self._asking.know(message.models)
        self.cancel_timer(_JOIN)
        self._ports.on_admitted()
        get_log().info("joined", node=self._ports.node_id, epoch=epoch)
        self._beat()

    def _beat(self) -> None:
        number = self._standing.beat(self.clock.monotonic_s())
        self._send(Heartbeat(number, self._ports.way.transport.stats().num_refused))
        self.set_timer(_BEAT, self._heartbeat_s)

    def _hold_until(self, until_s: float | None) -> None:
        if until_s is not None and self._standing.stand is Stand.MEMBER:
            self._lease.extend(until_s)
            self.set_timer(_LEASE, max(0.0, self._lease.left_s()))

    def _check_lease(self) -> None:
        """Stop everything, first of all, where the lease is over; a node that leaves has ended it already."""
        if self._standing.stand is Stand.MEMBER and self._lease.left_s() <= 0.0:
            self._lost(MembershipOver(f"the head was not heard for {self._lease_s:g} s"))

    def _lost(self, error: SageError) -> None:
        self._let_askers_know(error)
        self._obey(self._standing.lost(error))

    def _let_askers_know(self, error: SageError) -> None:
        get_log().warning("cluster lost", node=self._ports.node_id, why=error.what)
        self._asking.fail_all(error)

    def _drain(self) -> None:
        for came in self._line.drain():
            if isinstance(came, ChannelLost):
                self._lost(came.error)
            else:
                self._take(came.message, came.epoch)

    def _take(self, message: HeadToNode, epoch: int) -> None:
        match message:
            case Admitted():
                self._admitted(message, epoch)
            case Rejected(failure, may_rejoin):
                error = failure.error()
                self._let_askers_know(error)
                self._obey(self._standing.refused(error, may_rejoin=may_rejoin))
            case _ if epoch != self._line.epoch:
                get_log().warning("order of another epoch passed over", epoch=epoch, ours=self._line.epoch)
            case HeartbeatTaken(number):
                self._hold_until(self._standing.beat_taken(number, self._lease_s))
            case DeployRun():
                self._load(message)
            case BeginRun(run_id):
                tell(self._node, BeginJob(run_id))
            case CheckpointRun(run_id, checkpoint_id, stage):
                tell(self._node, CheckpointJob(run_id, checkpoint_id, stage))
            case StopRun(run_id):
                self._stop_run(run_id)
            case TakeMore(run_id, task_id, num_messages):
                self._running.give(run_id, task_id, num_messages)
            case LookUpState():
                self_ref, node = self.actor_ref, self._node
                self._running.look_up(message, lambda to: tell(node, to), lambda said: tell(self_ref, SayToHead(said)))
            case InferenceReplies(replies):
                self._asking.replied(replies)
            case StartEngineHost() | EndEngineHost() | ReadHostLog():
                self._hosts.obey(message)
            case TurnsAsked(run_id, step, requests):
                if self._standing.goes_on(run_id):  # of one that is over the head has answered
                    self._turns.of_run(run_id).give(step, requests)
            case TurnsWithdrawn(run_id, turn_ids):
                self._withdraw(run_id, turn_ids)
            case EndNode():
                self._obey(self._standing.told_to_end())

    def _load(self, order: DeployRun) -> None:
        if self._standing.takes_runs():
            self._standing.began(order.run_id)
            self_ref, ports = self.actor_ref, self._ports
            begin_loading(order, ports.node_id, ports.load, lambda came: tell(self_ref, came), ports.scheduler)

    def _deploy(self, loaded: RunLoaded) -> None:
        order = loaded.order
        if not self._standing.goes_on(order.run_id):
            return  # it was stopped while it was loaded
        self._ports.admit(peer.public_key for peer in order.peers.values())
        try:
            self._ports.way.open(order.run_id, order.placement, order.peers, loaded.types)
        except SageError as error:
            return self._decline(order, error)
        tasks = self._running.tasks(loaded, self._lease)
        tell(self._node, DeployTasks(order.run_id, tasks, order.keeping, loaded.types))

    def _decline(self, order: DeployRun, error: SageError) -> None:
        if self._standing.goes_on(order.run_id):
            self._send(declined(order, self._ports.node_id, error))

    def _stop_run(self, run_id: JobId) -> None:
        self._standing.stops(run_id)
        self._running.end(run_id)
        tell(self._node, StopJob(run_id))

    def _report(self, fact: NodeFact) -> None:
        """Say what became of runs; a node that leaves stops them by itself, and what that does to them is not news."""
        if self._standing.stand is Stand.MEMBER:
            self._send_printed(fact)
            for message in travelling(fact):
                self._send(message)
        if isinstance(fact, JobStopped):
            self._ports.way.close_run(fact.job_id)
            self._running.end(fact.job_id)
            self._turns.end_run(fact.job_id)
            self._obey(self._standing.stopped(fact.job_id))

    def _send_printed(self, fact: NodeFact | None = None) -> None:
        """Send what functions of users have printed; before the news of a task, which may be its last."""
        for message in self._ports.printed.take(fact):
            if self._standing.stand is Stand.MEMBER:
                self._send(message)

    def _tell_broken(self, lost: PeerLost) -> None:
        for run_id in self._ports.way.lost(lost):
            self._send(RunBroken(run_id, Failure.of(lost.error)))

    def _ask_models(self) -> None:
        for message in self._asking.outgoing():
            self._send(message)
        if self._standing.stand is not Stand.MEMBER:
            self._asking.fail_all(ClusterUnreachable("this node is no member of a cluster now"))

    def _withdraw(self, run_id: JobId, turn_ids: Sequence[RequestId]) -> None:
        if self._standing.goes_on(run_id) and (request_ids := self._turns.of_run(run_id).withdraw(turn_ids)):
            self._send(InferenceCancel(request_ids))

    def _send(self, message: ControlMessage) -> None:
        if not self._line.say(message) and self._standing.stand is not Stand.ENDED:
            self._lost(ClusterUnreachable("the head takes no more messages"))

    def _let_go(self) -> None:
        self._hosts.end_all()
        self._asking.close()
        self._asking.fail_all(ClusterUnreachable("this node ends"))
        for run_id in self._standing.runs:
            self._running.end(run_id)
        stop([self._node], timeout_s=_NODE_ENDS_S, clock=self.clock, scheduler=self._ports.scheduler)
        self._line.end()
