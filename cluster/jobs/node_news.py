"""What the job manager is told of nodes: who comes and leaves, and what is free there. Knows no job."""

from dataclasses import dataclass

from cluster.jobs.node_port import NodePort
from sage.base.errors import SageError
from sage.base.ids import NodeId
from sage.base.offer import NodeOffer


@dataclass(frozen=True, slots=True)
class NodeJoined:
    """A node is there, or one that was offers something else now: what runs on it runs on."""

    node_id: NodeId
    node: NodePort
    offer: NodeOffer


@dataclass(frozen=True, slots=True)
class NodeLeft:
    """A node is no more, or must not be counted on any more, and nothing runs there."""

    node_id: NodeId
    error: SageError


@dataclass(frozen=True, slots=True)
class CloseNode:
    """Place nothing new on a node, until `is_closed` is taken back."""

    node_id: NodeId
    is_closed: bool = True


@dataclass(frozen=True, slots=True)
class LetEngineGo:
    """The host of an engine has ended: what it held is free."""

    part_id: str
