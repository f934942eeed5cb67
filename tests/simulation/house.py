"""The whole house in a simulated world: job manager, nodes, control plane, engines. Decides no fault.

The same actors, machines and deciders as in production; a simulated network lies between the nodes and simulated
hosts are behind the plane. Jobs are submitted to the manager itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from pykka import ActorRef, Future

from cluster.jobs.manager import JobManager
from cluster.jobs.node_news import NodeJoined, NodeLeft
from cluster.jobs.node_port import ActorNode, Deployment
from cluster.jobs.orders import DeadLettersOf, JobView, NodesNow, SubmitPlan
from cluster.runtime.actor import tell, watch
from cluster.runtime.drive_ports import Workshop
from cluster.runtime.node import Node, NodePorts
from cluster.runtime.saving import CheckpointStage
from cluster.runtime.task import Task
from cluster.runtime.workshop import OperatorWorkshop
from cluster.serving.events import Command, Event
from cluster.serving.manager import AttachEngine, CloseEngines, ControlPlane, GetDoor, GetView
from cluster.serving.plane import Plane
from operators.index import IndexStore
from sage.base.errors import NodeLost, SageError, TaskStuck
from sage.base.ids import EngineId, JobId, NodeId, TaskId
from sage.base.offer import NodeOffer
from sage.base.settings import RuntimeSettings
from sage.flow.plan import plan_from_graph
from sage.flow.runner import JobStatus
from tests.simulation.engine import SimulatedLink
from tests.simulation.flows import CHAT, EMBED, RandomFlow
from tests.simulation.ledger import RequestLedger
from tests.simulation.mailbox import is_answered, was_taken
from tests.simulation.transport import SimulatedNetwork
from tests.simulation.world import World

_ENDS = (JobStatus.FINISHED, JobStatus.FAILED, JobStatus.CANCELLED)


@dataclass(frozen=True, slots=True)
class HouseSettings:
    """How large everything is."""

    num_nodes: int
    batch_records: int
    inbox_batches: int
    max_waiting: int
    latency_s: float


@dataclass(slots=True, eq=False)
class SimulatedJob:
    """A flow on its way: `views` is all that the manager ever said of it, `causes` the errors that it may end with."""

    flow: RandomFlow
    views: list[JobView] = field(default_factory=list)
    answer: "Future[JobId] | None" = None
    causes: set[type[SageError]] = field(default_factory=set)
    left: set[str] = field(default_factory=set)  # what still worked for it when it was over or began anew

    def is_over(self) -> bool:
        if self.answer is None or not is_answered(self.answer):
            return False
        return self.was_refused() or self.views[-1].is_over

    def was_refused(self) -> bool:
        return not self.views

    def job_id(self) -> JobId:
        assert self.answer is not None
        job_id: JobId = self.answer.get(timeout=0.0)
        return job_id


class RecordedNode:
    """A NodePort that notes in `homes` on which node each task is."""

    def __init__(self, node: ActorNode, homes: dict[TaskId, NodeId]) -> None:
        self._node = node
        self._homes = homes

    def deploy(self, deployment: Deployment) -> None:
        self._homes.update(deployment.nodes)
        self._node.deploy(deployment)

    def begin(self, run_id: JobId) -> None:
        self._node.begin(run_id)

    def checkpoint(self, run_id: JobId, checkpoint_id: int, stage: CheckpointStage) -> None:
        self._node.checkpoint(run_id, checkpoint_id, stage)

    def stop(self, run_id: JobId) -> None:
        self._node.stop(run_id)


class House:
    """Starts everything; `jobs` are those that were submitted."""

    def __init__(
        self, world: World, settings: HouseSettings, *, workshop: Callable[[Workshop], Workshop] = lambda made: made
    ) -> None:
        """`workshop` may put another before the real one."""
        self.world = world
        self.settings = settings
        self.jobs: list[SimulatedJob] = []
        self.links: list[SimulatedLink] = []
        self._workshop = workshop
        self.manager: ActorRef[Any] = JobManager.start(world.clock, self._rng(), scheduler=world.here)
        self.machine = Plane((CHAT, EMBED), max_waiting=settings.max_waiting)
        self.plane: ActorRef[Any] = ControlPlane.start(self.machine, clock=world.clock, scheduler=world.here)
        self.requests = RequestLedger(world.ask(self.plane, GetDoor()), world.clock, lambda: world.acting)
        self.network = SimulatedNetwork(world, latency_s=settings.latency_s)
        self._homes: dict[TaskId, NodeId] = {}
        self._attaching: list[tuple[SimulatedLink, Future[None]]] = []
        self.nodes: dict[NodeId, ActorRef[Any]] = {}
        for _ in range(settings.num_nodes):
            self.join()

    def submit(self, flow: RandomFlow, *, num_restarts: int = 0) -> SimulatedJob:
        """Hand a flow to the manager; the answer comes when it comes."""
        job = SimulatedJob(flow)
        self.jobs.append(job)
        plan = plan_from_graph(flow.flow.graph())
        order = SubmitPlan(plan, partial(self._changed, job), num_restarts=num_restarts)
        job.answer = self.manager.ask(order, block=False)
        return job

    def attach(self, model: str, *, starts_well: bool = True) -> SimulatedLink:
        """Start an engine for `model`."""
        rng = self.world.rng
        engine_id = EngineId(f"{model}-{len(self.links)}")
        latency_s = rng.choice((0.0, 0.001, 0.02))
        link = SimulatedLink(self.world, engine_id, model, max_running=rng.choice((1, 2, 8)), latency_s=latency_s)
        self.links.append(link)
        link.start(rng.random() * 3.0, well=starts_well)
        self._attaching.append((link, self.plane.ask(AttachEngine(link, None), block=False)))
        return link

    def join(self) -> None:
        """Start one more node."""
        node_id = NodeId(f"node-{len(self.nodes)}")
        self.nodes[node_id] = self._node(node_id)

    def break_plane(self) -> None:
        """Let the plane have a fault of its own at its next event."""

        def handle(event: Event, now_s: float) -> list[Command]:
            raise RuntimeError("the simulation broke the plane")

        self.machine.handle = handle  # type: ignore[method-assign] # the machine is a plain object

    def lose(self, node_id: NodeId, *, noticed_after_s: float) -> None:
        """Let a node's process be gone with all its tasks, and the manager learn of it so much later."""
        self.world.kill([self.nodes[node_id], *self.tasks_on(node_id)])
        self.world.here.coroutines_of[f"{node_id} coroutines"].close(0.0)
        self.network.lose(node_id)
        left = NodeLeft(node_id, NodeLost(f"the simulation ended {node_id}"))
        self.world.later(noticed_after_s, lambda: tell(self.manager, left))

    def tasks_on(self, node_id: NodeId) -> list[ActorRef[Any]]:
        return [ref for name, ref in self.world.refs(Task).items() if self._homes.get(TaskId(name)) == node_id]

    def run(self) -> None:
        """Go on until every job is over."""
        self.world.run_until(lambda: all(job.is_over() for job in self.jobs), "the end of every job")

    def wrong(self) -> list[str]:
        """Let what is on its way arrive, and say what is wrong; every job is over."""
        self.world.run_out()
        wrong = [f"job {number}: {what}" for number, job in enumerate(self.jobs) for what in self._wrong(job)]
        return wrong + self._left()

    def end(self) -> list[str]:
        """End all actors and what the plane did not take; say what is left."""
        for link, answer in self._attaching:
            if not was_taken(answer):
                link.close(0.0)
        self.world.stop([*self.nodes.values()])
        self.world.run_out()
        tell(self.plane, CloseEngines(1.0))
        self.world.run_out()
        self.world.stop([self.plane, self.manager])
        self.world.run_out()
        left = [f"actor {name} is left" for name in self.world.living()]
        return left + [f"the link to {link.engine_id} is left open" for link in self.links if not link.is_closed]

    def _changed(self, job: SimulatedJob, view: JobView) -> None:
        """Take the manager's news; once a run is over, nothing may work for it any more."""
        if job.views and view.run_id != job.views[-1].run_id:
            job.left |= self._working_for(job.views[-1].run_id)
        if view.is_over and not _is_stuck(view.error):
            job.left |= self._working_for(view.run_id)
        job.views.append(view)

    def _working_for(self, run_id: JobId) -> set[str]:
        """Return the tasks of a run that live, or have coroutines or requests that they do not want any more."""
        names = {*self.world.refs(Task), *self.requests.owners()}
        for coroutines in self.world.here.coroutines_of.values():
            names |= coroutines.owners()
        lost = {task_id for task_id, node_id in self._homes.items() if not self.nodes[node_id].is_alive()}
        return {name for name in names - lost if name.startswith(f"{run_id}/")}

    # What is wrong.

    def _wrong(self, job: SimulatedJob) -> list[str]:
        if job.was_refused():
            return _wrong_refusal(job)
        wrong = [*job.flow.violations, *_wrong_course(job.views)]
        wrong += [f"{job.left} still worked for it when it was over"] if job.left else []
        end = job.views[-1]
        is_whole = end.metrics.status is JobStatus.FINISHED
        if end.error is not None and type(end.error) not in job.causes:
            wrong.append(f"ended by {end.error!r}, for which there is no cause but {job.causes}")
        if is_whole is not (end.error is None):
            wrong.append(f"{end.metrics.status} with the error {end.error!r}")
        letters = self.world.ask(self.manager, DeadLettersOf(job.job_id()))
        if is_whole and len(letters) != end.num_dead_letters:
            wrong.append(f"{end.num_dead_letters} dead letters are counted and {len(letters)} kept")
        if is_whole:
            numbers = (end.metrics.records_in, end.metrics.records_out)
            seen = (job.flow.num_source_records, job.flow.num_results())
            wrong += [f"it counts {numbers} records in and out, and there were {seen}"] if numbers != seen else []
        return wrong + job.flow.wrong(letters, is_whole=is_whole)

    def _left(self) -> list[str]:
        wrong = [f"task {name} is left" for name in self.world.refs(Task)]
        wrong += [f"task {task_id} is still connected" for task_id in self.network.connected()]
        owners = {owner for coroutines in self.world.here.coroutines_of.values() for owner in coroutines.owners()}
        wrong += [f"coroutines of {owner} are left" for owner in owners]
        for node in self.world.ask(self.manager, NodesNow()):
            wrong += [f"{node.num_tasks} tasks hold room on {node.node_id}"] if node.num_tasks else []
        return wrong + self._held_by_plane() + self.requests.wrong()

    def _held_by_plane(self) -> list[str]:
        if not self.plane.is_alive():
            return []
        view = self.world.ask(self.plane, GetView())
        self.machine.check()
        held = sum(engine.num_running for engine in view.engines)
        if not (view.num_waiting or view.num_running or held):
            return []
        return [f"{view.num_waiting} requests wait, {view.num_running} run, engines hold {held}"]

    def _node(self, node_id: NodeId) -> ActorRef[Any]:
        manager, settings = self.manager, self.settings
        workshop = OperatorWorkshop(IndexStore(), batch_records=settings.batch_records, rng=self._rng())
        ports = NodePorts(
            transport=self.network.transport(node_id),
            inference=self.requests,
            workshop=self._workshop(workshop),
            report=lambda fact: tell(manager, fact),
            settings=RuntimeSettings(batch_records=settings.batch_records, inbox_batches=settings.inbox_batches),
            clock=self.world.clock,
            scheduler=self.world.here,
        )
        ref = Node.start(node_id, ports)
        node = RecordedNode(ActorNode(node_id, ref), self._homes)
        tell(manager, NodeJoined(node_id, node, NodeOffer(cpus=64.0)))
        watch(ref, manager)
        return ref

    def _rng(self) -> Random:
        return Random(self.world.rng.getrandbits(64))


def _is_stuck(error: SageError | None) -> bool:
    """Say whether a job's end names tasks that would not stop."""
    notes = getattr(error, "__notes__", ())
    return isinstance(error, TaskStuck) or any("still runs" in note for note in notes)


def _wrong_refusal(job: SimulatedJob) -> list[str]:
    try:
        job.job_id()
    except SageError as error:
        return [] if type(error) in job.causes else [f"it was refused by {error!r}"]
    return ["it was taken, and nothing was ever said of it"]


def _wrong_course(views: list[JobView]) -> list[str]:
    """Say where a job went backwards, or changed once it was over."""
    order = list(JobStatus)
    ranks = [(view.num_restarts, min(order.index(view.metrics.status), 3)) for view in views]
    wrong = [] if ranks == sorted(ranks) else [f"it went backwards: {[view.metrics.status.value for view in views]}"]
    ends = {view.metrics.status for view in views if view.is_over}
    if len(ends) != 1 or not ends <= set(_ENDS):
        wrong.append(f"it ended as {ends}")
    return wrong
