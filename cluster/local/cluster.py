"""LocalCluster: puts the house together in this process, and takes it down. Decides nothing."""

import atexit
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pykka import ActorRef

from cluster.checkpoints.clerk import CheckpointClerk
from cluster.checkpoints.giving_way import give_way
from cluster.checkpoints.keepers import Keepers
from cluster.jobs.checkpoint_start import HERE, open_checkpoints
from cluster.jobs.letters import LetterKeeper, letters_here
from cluster.jobs.machine_watch import MachineWatch
from cluster.jobs.manager import JobManager
from cluster.jobs.node_news import NodeJoined
from cluster.jobs.node_port import ActorNode
from cluster.jobs.orders import CheckRoom, NodesNow, SubmitPlan
from cluster.jobs.parts import Part
from cluster.jobs.placement import Strategy
from cluster.local.awaited import AwaitedCluster
from cluster.local.explain import NODE_ID, machine_here
from cluster.local.job import ANSWER_S, JobBoard, ManagerDesk, SubmittedJob
from cluster.local.models import Asker
from cluster.local.needs import Need, need_of_call, needs_of_graph
from cluster.local.plane import EmbeddedPlane
from cluster.runtime.actor import ask, stop, tell, watch
from cluster.runtime.inproc import InprocTransport
from cluster.runtime.node import Node, NodePorts
from cluster.runtime.workshop import OperatorWorkshop
from cluster.web.posts_here import listen
from operators.index import IndexStore
from sage.base.clock import SystemClock
from sage.base.config import load_settings
from sage.base.errors import FlowInvalid, InternalError, SageError, UnknownAddress
from sage.base.ids import JobId
from sage.base.inference import Inference, Kind
from sage.base.log import get_log
from sage.base.offer import NodeOffer
from sage.base.settings import Settings
from sage.flow.checkpoint import Checkpoint, Resume, checked_resume
from sage.flow.graph import Graph
from sage.flow.plan import plan_from_graph
from sage.flow.runner import EngineStatus, Job, NodeView, Submittable
from sage.flow.turns import chats_of

if TYPE_CHECKING:  # the serving side is slow to import; flows that ask no model do without it
    from cluster.local.supply import Supply
    from cluster.serving.driver import HeldLink
    from cluster.serving.engines.spec import EngineSpec

MAX_PAST_JOBS = 16
"""Jobs that are over and still listed."""
_NAMING_S = 0.25  # for the node to name what has not stopped when its own deadline has passed


def connect(address: str | None = None) -> "LocalCluster":
    """Return a cluster in this process; raises UnknownAddress for any address but None and "local"."""
    if address not in (None, "local"):
        raise UnknownAddress(
            f"address {address!r} is not served by this version",
            'Use no address, or "local": flows run in this process.',
        )
    return LocalCluster()


class LocalCluster(AwaitedCluster):
    """Job manager, one node and, once a flow asks models, the control plane, all in this process."""

    def __init__(self, *, settings: Settings | None = None, engines: "Sequence[EngineSpec]" = ()) -> None:
        """`settings`: by default those in force here. `engines` are started at once; others when a flow needs them."""
        self._settings = settings if settings is not None else load_settings()
        self._clock = SystemClock()
        self._engines = (*engines, *self._configured_engines())
        self._plane = EmbeddedPlane(self._settings.plane, self._engines, self._supply, self._settings.tenants)
        machine = machine_here(self._settings)
        offer = machine.look()
        self._manager = JobManager.start(self._clock, Random(), Strategy(self._settings.jobs.placement))
        self._keepers = Keepers(self._clock, keep_calls=True, between=give_way)
        self._node = Node.start(NODE_ID, self._node_ports())
        self._actors: list[ActorRef[Any]] = [self._node, self._manager]
        if machine.has_driver:
            self._actors.append(MachineWatch.start(machine, offer, self._offers, self._clock))
        self._clerk: ActorRef[Any] | None = None
        self._jobs: list[SubmittedJob] = []
        self._is_closed = False
        atexit.register(self.close)
        watch(self._node, self._manager)
        self._offers(offer)
        if engines:
            self._plane.serve(engines)
        self._asker = Asker(self._plane, self._serve_model, self.engines, self._clock)

    @property
    def inference(self) -> Inference:
        """The door to the models of this cluster; usable from any thread."""
        return self._plane

    def submit(
        self, flow: Graph | Submittable, *, checkpoint: Checkpoint | None = None, resume: Resume = "auto"
    ) -> SubmittedJob:
        """Start a flow, or go on with it; see sage.flow.runner.Cluster for what is raised before anything runs."""
        if self._is_closed:
            raise InternalError("the cluster is closed", "Submit within its `with` block.")
        resume = checked_resume(resume, checkpoint)
        graph = flow if isinstance(flow, Graph) else flow.graph()
        _check_asked(graph)
        plan = plan_from_graph(graph)
        specs = self._specs_for(needs_of_graph(graph))
        ask(self._manager, CheckRoom(plan, _parts(specs)), timeout_s=ANSWER_S)
        if specs:
            self._plane.serve(specs)
        board = JobBoard()
        checkpoints = None
        if checkpoint is not None:
            storage = replace(HERE, full_disk_s=self._settings.runtime.full_disk_s)
            checkpoints = open_checkpoints(graph, checkpoint, resume, self._started_clerk(), storage)
        job_id = self._submitted(SubmitPlan(plan, board.post, checkpoints=checkpoints))
        job = SubmittedJob(
            job_id, graph, board, ManagerDesk(self._manager), self._clock, is_kept=checkpoint is not None
        )
        self._keep(job)
        return job

    def _submitted(self, order: SubmitPlan) -> JobId:
        try:
            return ask(self._manager, order, timeout_s=ANSWER_S)
        except SageError:
            if order.checkpoints is not None:
                order.checkpoints.on_over()
            raise

    def _started_clerk(self) -> ActorRef[Any]:
        if self._clerk is None:
            self._clerk = CheckpointClerk.start(HERE.open_folder, clock=self._clock)
        return self._clerk

    def _keep(self, job: SubmittedJob) -> None:
        """Know the job from now on, and forget the oldest of too many that are over: each holds its flow's data."""
        self._jobs.append(job)
        past = [job for job in self._jobs if job.is_over]
        for forgotten in past[:-MAX_PAST_JOBS]:
            self._jobs.remove(forgotten)

    def jobs(self) -> list[Job]:
        """Return the jobs that run, and the newest of those that are over."""
        return list(self._jobs)

    def nodes(self) -> list[NodeView]:
        return ask(self._manager, NodesNow(), timeout_s=ANSWER_S)

    def engines(self) -> list[EngineStatus]:
        return list(self._plane.engines())

    def release_engines(self) -> "tuple[HeldLink, ...]":
        """Give up all engines, still running, to the caller, who closes them; whoever asks models starts new ones."""
        return self._plane.release_engines()

    def set_policy(self, policy: str | None = None, *, route: str | None = None) -> None:
        """Order the requests that wait by a policy, choose engines by a route, at once; raises UnknownPolicy."""
        self._plane.set_policy(policy, route=route)

    def close(self) -> None:
        """Cancel what runs and end every actor, thread and process, within the settings' stop_timeout_s."""
        if self._is_closed:
            return
        self._is_closed = True
        atexit.unregister(self.close)
        until_s = self._clock.monotonic_s() + self._settings.runtime.stop_timeout_s
        stopping = [job for job in self._jobs if job.ask_to_stop()]
        left = self._plane.close(0.5 * self._settings.runtime.stop_timeout_s)
        for job in stopping:
            job.wait_stopped(_NAMING_S + max(0.0, until_s - self._clock.monotonic_s()))
        savers = [*self._keepers.actors(), *([self._clerk] if self._clerk is not None else [])]
        left += stop([*self._actors, *savers], timeout_s=max(0.1, until_s - self._clock.monotonic_s()))
        for name in [*left, *(stuck for job in stopping if (stuck := job.stuck()))]:
            get_log().warning("still running", what=name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _offers(self, offer: NodeOffer) -> None:
        tell(self._manager, NodeJoined(NODE_ID, ActorNode(NODE_ID, self._node), offer))

    def _configured_engines(self) -> "list[EngineSpec]":
        if not self._settings.engines:
            return []
        from cluster.serving.engines.spec import spec_from_settings

        return [spec_from_settings(table) for table in self._settings.engines]

    def _specs_for(self, needs: list[Need]) -> "tuple[EngineSpec, ...]":
        if not needs:
            return ()
        from cluster.local.engines import specs_for_needs
        from cluster.serving.model_store import open_store

        return specs_for_needs(needs, self._engines, open_store(self._settings.models).path)

    def _supply(self) -> "Supply":
        from cluster.local.supply import ChildSupply

        return ChildSupply(self._manager)

    def _serve_model(self, model: str, kind: Kind) -> None:
        """Have engines of a model run, for a call from Python."""
        if self._is_closed:
            raise InternalError("the cluster is closed", "Ask within its `with` block.")
        if not any(card.name == model and kind in card.kinds for card in self._plane.models()):
            self._plane.serve(self._specs_for([need_of_call(model, kind)]))

    def _node_ports(self) -> NodePorts:
        manager = self._manager
        return NodePorts(
            transport=InprocTransport(),
            inference=self._plane,
            workshop=OperatorWorkshop(IndexStore(), batch_records=self._settings.runtime.batch_records, listen=listen),
            report=lambda fact: tell(manager, fact),
            settings=self._settings.runtime,
            clock=self._clock,
            keepers=self._keepers,
            keep_letter=LetterKeeper(letters_here(self._settings), self._clock),
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(job.id)}</td><td>{escape(job.graph.name)}</td><td>{escape(job.metrics().status_shown)}</td></tr>"
            for job in self._jobs
        )
        return (
            f"<p>Cluster in this process{' (closed)' if self._is_closed else ''}</p>"
            f"<table><tr><th>job</th><th>flow</th><th>status</th></tr>{rows}</table>"
        )


def _check_asked(graph: Graph) -> None:
    """Refuse a flow that answers chat requests: none ever comes to this process, and the job would wait for ever."""
    for name in chats_of(graph):
        what = f"the flow {graph.name!r} answers as the model {name!r}, and nobody can ask it in this process"
        raise FlowInvalid(
            what, "Submit it to a cluster (sage-cluster submit FILE), and serve that: sage-gateway serve --cluster."
        )


def _parts(specs: "tuple[EngineSpec, ...]") -> tuple[Part, ...]:
    """Return what is placed for engines whose files were seen to be here."""
    if not specs:
        return ()
    from cluster.local.engines import parts_of_engines

    return tuple(replace(part, engine=()) for part in parts_of_engines(specs))
