"""What the job manager orders of a node, wherever the node is. Knows no transport."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pykka import ActorRef

from cluster.jobs.room import Placed
from cluster.runtime.actor import tell
from cluster.runtime.lookup import LookUp
from cluster.runtime.messages import BeginJob, CheckpointJob, DeployTasks, StopJob, TaskSpec
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.saving import CheckpointStage, Keeping
from sage.base.devices import Device
from sage.base.errors import DeviceLost
from sage.base.ids import JobId, NodeId, TaskId


@dataclass(frozen=True, slots=True)
class Deployment:
    """One run of a job: all its tasks and where each goes. A run that follows a loss has another id than its job.

    `keeping`: where what they hold is saved; `types`: those classes of the flow whose instances can be.
    """

    run_id: JobId
    job_id: JobId
    tasks: tuple[TaskSpec, ...]
    nodes: Mapping[TaskId, NodeId]
    keeping: Keeping | None = None
    types: RecordTypes = field(default_factory=RecordTypes)

    def tasks_on(self, node_id: NodeId) -> tuple[TaskSpec, ...]:
        return tuple(task for task in self.tasks if self.nodes[task.id] == node_id)

    def devices_on(self, node_id: NodeId) -> dict[TaskId, tuple[Device, ...]]:
        """Return the GPUs of those tasks there that have some."""
        return {task.id: task.devices for task in self.tasks_on(node_id) if task.devices}


class NodePort(Protocol):
    """A node that takes orders; what it does comes back as NodeFacts, whose `job_id` is the run's. Nothing waits."""

    def deploy(self, deployment: Deployment) -> None:
        """Start the tasks that are this node's; they open, and wait for `begin`."""
        ...

    def begin(self, run_id: JobId) -> None: ...

    def checkpoint(self, run_id: JobId, checkpoint_id: int, stage: CheckpointStage) -> None:
        """Tell the tasks that are this node's and live."""
        ...

    def stop(self, run_id: JobId) -> None: ...


OnBreak = Callable[[DeviceLost], object]
"""Called on the manager's thread where a device that an engine holds is of no use any more; must return at once."""


@dataclass(frozen=True, slots=True)
class PlacedEngine:
    """Where the host of an engine is to be started, and what it holds there."""

    placed: Placed
    node: NodePort


@dataclass(frozen=True, slots=True)
class ActorNode:
    """A node that is an actor of this process."""

    node_id: NodeId
    ref: ActorRef[Any]

    def deploy(self, deployment: Deployment) -> None:
        here = deployment.tasks_on(self.node_id)
        tell(self.ref, DeployTasks(deployment.run_id, here, deployment.keeping, deployment.types))

    def begin(self, run_id: JobId) -> None:
        tell(self.ref, BeginJob(run_id))

    def checkpoint(self, run_id: JobId, checkpoint_id: int, stage: CheckpointStage) -> None:
        tell(self.ref, CheckpointJob(run_id, checkpoint_id, stage))

    def stop(self, run_id: JobId) -> None:
        tell(self.ref, StopJob(run_id))

    def look_up(self, wanted: LookUp) -> bool:
        """Ask a task of this node for what it keeps; False where the node is no more."""
        return tell(self.ref, wanted)
