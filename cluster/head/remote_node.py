"""A node in another process as the job manager orders it: through the head's door. Knows no socket."""

from dataclasses import dataclass
from typing import Any

from pykka import ActorRef

from cluster.jobs.node_port import Deployment
from cluster.runtime.actor import tell
from cluster.runtime.control import BeginRun, CheckpointRun, StopRun
from cluster.runtime.saving import CheckpointStage
from sage.base.ids import JobId, NodeId


@dataclass(frozen=True, slots=True)
class OrderToNode:
    """To the door: for one node in one epoch; a node that has come back since is not given it."""

    node_id: NodeId
    epoch: int
    order: Deployment | BeginRun | CheckpointRun | StopRun


@dataclass(frozen=True, slots=True)
class RemoteNode:
    """A NodePort. `key`: that by which it is let in, in Z85; "" on this machine."""

    node_id: NodeId
    epoch: int
    door: ActorRef[Any]
    key: str = ""

    def deploy(self, deployment: Deployment) -> None:
        tell(self.door, OrderToNode(self.node_id, self.epoch, deployment))

    def begin(self, run_id: JobId) -> None:
        tell(self.door, OrderToNode(self.node_id, self.epoch, BeginRun(run_id)))

    def checkpoint(self, run_id: JobId, checkpoint_id: int, stage: CheckpointStage) -> None:
        tell(self.door, OrderToNode(self.node_id, self.epoch, CheckpointRun(run_id, checkpoint_id, stage)))

    def stop(self, run_id: JobId) -> None:
        tell(self.door, OrderToNode(self.node_id, self.epoch, StopRun(run_id)))
