"""Submitter: the actor that brings a job from its submission to the job manager. Knows no socket.

Beside the door's thread, because starting engines and placing many tasks take longer than a heartbeat may wait.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from pykka import ActorRef

from cluster.head.history import PastJob, about_order, code_bytes
from cluster.jobs.checkpoint_start import HERE, Storage, open_checkpoints
from cluster.jobs.envelope import EnvelopeVerifier, NoCodeShipping
from cluster.jobs.job_checkpoints import CheckpointPlan
from cluster.jobs.orders import CheckRoom, JobView, ResumePlan, SubmitPlan
from cluster.jobs.outline import plan_from_outline
from cluster.local.needs import Need, need_of_call, needs_of_graph
from cluster.local.plane import ClusterPlane
from cluster.runtime.actor import Actor, ask, tell
from cluster.runtime.channel import PeerId
from cluster.runtime.control_clients import SubmitFlow
from cluster.runtime.control_plane import EndEngines, PlaneOrder, ScaleEngines, ServeModel, StartEngine
from cluster.runtime.keep_flow import KeepFlow
from cluster.runtime.scheduler import Scheduler, Threads
from cluster.runtime.travelling_code import ShippedCode
from cluster.serving.engines.spec import EngineSpec
from sage.base.clock import Clock
from sage.base.errors import CheckpointUnusable, SageError
from sage.base.ids import EngineId, JobId
from sage.base.log import get_log
from sage.base.settings import Settings
from sage.flow.checkpoint import Checkpoint
from sage.flow.plan import Plan

ANSWER_S = 20.0


@dataclass(frozen=True, slots=True)
class Submission:
    peer: PeerId
    order: SubmitFlow


@dataclass(frozen=True, slots=True)
class Resumption:
    """Let a job of an earlier head begin again, once `after_s` have passed."""

    job: PastJob
    after_s: float


@dataclass(frozen=True, slots=True)
class PlaneOrdered:
    """What a client wants of engines: to start those of a model that none serves, or to tend some."""

    peer: PeerId
    order: PlaneOrder


@dataclass(frozen=True, slots=True)
class ServingBegun:
    """`error` None: it is done, or has begun."""

    wanted: PlaneOrdered
    error: SageError | None


@dataclass(frozen=True, slots=True)
class ServeWanted:
    """A node has come: start the engines that were wanted from the first, or were given up, if there is room."""

    engines: tuple[EngineSpec, ...]


@dataclass(frozen=True, slots=True)
class RoomMade:
    """Nothing of an engine is left, or None: of a job. What it took of its node is free."""

    engine_id: EngineId | None


@dataclass(frozen=True, slots=True)
class SubmissionEnded:
    """`error` None: the job runs."""

    submission: Submission
    error: SageError | None


@dataclass(frozen=True, slots=True)
class JobChanged:
    """A job of this head is as `view` says."""

    job_id: JobId
    view: JobView


@dataclass(frozen=True, slots=True)
class SubmitterPorts:
    """`tell_door` takes SubmissionEnded, ServingBegun and JobChanged on any thread. `clerk`: of checkpoints, kept in
    `storage`."""

    manager: ActorRef[Any]
    plane: ClusterPlane
    specs_for: Callable[[list[Need]], tuple[EngineSpec, ...]]
    verifier: EnvelopeVerifier | NoCodeShipping
    tell_door: Callable[[object], None]
    settings: Settings
    clock: Clock
    scheduler: Scheduler = field(default_factory=Threads)
    clerk: ActorRef[Any] | None = None
    storage: Storage = HERE


Message = Submission | Resumption | ServeWanted | RoomMade | PlaneOrdered


class Submitter(Actor[Message]):
    """One submission at a time."""

    restartable = True

    def __init__(self, ports: SubmitterPorts) -> None:
        super().__init__("submitter", clock=ports.clock, scheduler=ports.scheduler)
        self._ports = ports

    def receive(self, message: Message) -> None:
        match message:
            case ServeWanted():
                self._serve_wanted(message)
            case RoomMade(engine_id):
                self._ports.plane.made_room(engine_id)
            case Resumption():
                self._resume(message)
            case PlaneOrdered(_, order):
                self._ports.tell_door(ServingBegun(message, _refusal(lambda: self._obey(order))))
            case Submission(_, submit):
                self._ports.tell_door(SubmissionEnded(message, _refusal(lambda: self._submit(submit))))

    def _submit(self, order: SubmitFlow) -> None:
        ports = self._ports
        plan = plan_from_outline(order.outline)
        if isinstance(order.code, ShippedCode):
            ports.verifier.take(order.code.envelope, order.job_id, ports.clock.unix_s())
        specs = ports.specs_for(needs_of_graph(plan.graph))
        ask(ports.manager, CheckRoom(plan, ports.plane.parts_of(specs)), timeout_s=ANSWER_S)
        if specs:
            ports.plane.serve(specs)
        checkpoints = self._checkpoints(plan, order.keep) if order.keep is not None else None
        submit = SubmitPlan(
            plan,
            self._telling_of(order.job_id),
            order.job_id,
            ports.settings.jobs.max_restarts,
            code_bytes(order.code),
            about_order(order, ports.clock.unix_s()),
            checkpoints,
        )
        try:
            ask(ports.manager, submit, timeout_s=ANSWER_S)
        except SageError:
            if checkpoints is not None:
                checkpoints.on_over()
            raise

    def _telling_of(self, job_id: JobId) -> Callable[[JobView], None]:
        """Return who is told, on the manager's thread, as what a job has changed to."""
        tell_door, ref = self._ports.tell_door, self.actor_ref

        def changed(view: JobView) -> None:
            tell_door(JobChanged(job_id, view))
            if view.is_over:
                tell(ref, RoomMade(None))

        return changed

    def _checkpoints(self, plan: Plan, keep: KeepFlow) -> CheckpointPlan:
        if self._ports.clerk is None:
            raise CheckpointUnusable("this head keeps no checkpoints", "Submit the flow without.")
        wanted = Checkpoint(
            keep.folder, keep.every_s, keep.num_kept, keep.timeout_s, keep.drop, keep.savepoint, keep.state
        )
        storage = replace(self._ports.storage, full_disk_s=self._ports.settings.runtime.full_disk_s)
        return open_checkpoints(plan.graph, wanted, keep.resume, self._ports.clerk, storage)

    def _obey(self, order: PlaneOrder) -> None:
        plane = self._ports.plane
        match order:
            case ServeModel(_, model, kind):
                plane.serve(self._ports.specs_for([need_of_call(model, kind)]))
            case StartEngine(_, spec):
                plane.add(msgspec.json.decode(spec, type=EngineSpec))
            case EndEngines(_, name, at_once):
                plane.end(name, at_once=at_once)
            case ScaleEngines(_, name, num_replicas):
                plane.scale(name, num_replicas)

    def _serve_wanted(self, wanted: ServeWanted) -> None:
        try:
            if wanted.engines:
                self._ports.plane.serve(wanted.engines, may_wait=True)
        except SageError as error:
            get_log().warning("engines not started", why=error.what)
        self._ports.plane.serve_again()

    def _resume(self, message: Resumption) -> None:
        ports = self._ports
        plan, refusal, checkpoints = plan_from_outline(message.job.about.outline), None, None
        try:
            if (keep := message.job.about.keep) is not None:
                checkpoints = self._checkpoints(plan, msgspec.structs.replace(keep, resume="auto"))
            if specs := ports.specs_for(needs_of_graph(plan.graph)):
                ports.plane.serve(specs)
        except SageError as error:
            refusal = error
        resume = ResumePlan(
            message.job.record,
            plan,
            self._telling_of(message.job.record.id),
            message.after_s,
            refusal,
            checkpoints,
        )
        tell(ports.manager, resume)


def _refusal(do: Callable[[], None]) -> SageError | None:
    try:
        do()
    except SageError as refusal:
        return refusal
    return None
