"""How a graph is cut into chains and channels. Pure; knows nodes only as numbers of instances."""

from dataclasses import dataclass
from enum import StrEnum

from sage.base.resources import Resources
from sage.flow.graph import Graph, Step


class Routing(StrEnum):
    """How a channel spreads batches over the receiving chain's instances."""

    FORWARD = "forward"  # instance i to instance i: same parallelism, order kept
    ROUND_ROBIN = "round_robin"  # batch by batch, order not kept
    KEYED = "keyed"  # by a stable hash of the record's key
    COMPLETION = "completion"  # carries no records, only the end: the receiver waits for it before it takes records


@dataclass(frozen=True, slots=True)
class Chain:
    """Steps that run in one task, fused. `resources` is the sum over its steps, for each instance.

    The first step is a Read (the task drives itself), a Union (identity), one Waiting step alone, one MapBatches with
    `max_wait_s` alone, or any inline step; all others are inline. `id` is the name of its first step.
    """

    id: str
    steps: tuple[Step, ...]
    parallelism: int
    resources: Resources


@dataclass(frozen=True, slots=True)
class Channel:
    """An edge between chains. A chain with several outgoing channels sends every batch to each of them."""

    source: str
    target: str
    routing: Routing


@dataclass(frozen=True, slots=True)
class Plan:
    """What runs: chains in topological order and the channels between them."""

    graph: Graph
    chains: tuple[Chain, ...]
    channels: tuple[Channel, ...]
