"""How a graph is cut into chains and channels. Pure; knows nodes only as numbers of instances."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce

from sage.base.demand import Demand
from sage.flow.bodies import returns_of
from sage.flow.check_graph import fills
from sage.flow.graph import Graph, Step, consumers_of
from sage.flow.spec import Iterate, KeyBy, MapBatches, TakeSide, ToAll, Union, Waiting
from sage.flow.two_inputs import takes_two

Side = tuple[str, str]
"""The name of a step and the tag of what it puts aside."""


class Routing(StrEnum):
    """How a channel spreads batches over the receiving chain's instances."""

    FORWARD = "forward"  # instance i to instance i: same parallelism, order kept
    ROUND_ROBIN = "round_robin"  # batch by batch, order not kept
    KEYED = "keyed"  # by a stable hash of the record's key
    BROADCAST = "broadcast"  # every batch to every instance
    BACK = "back"  # one instance to one: from the end of a loop's body to its beginning
    COMPLETION = "completion"  # carries no records, only the end: the receiver waits for it before it takes records


@dataclass(frozen=True, slots=True)
class Chain:
    """Steps that run in one task, fused. `demand` is that of all its steps together, for each instance.

    The first step is a Read (the task drives itself), a Union (identity), one Waiting step alone, one MapBatches with
    `max_wait_s` alone, one Iterate alone, or any inline step; all others are inline. `id` is its first step's name.
    """

    id: str
    steps: tuple[Step, ...]
    parallelism: int
    demand: Demand


@dataclass(frozen=True, slots=True)
class Channel:
    """An edge between chains. A chain with several outgoing channels sends every batch to each of them.

    Where `side` is set, it carries that side of a step of the source, and nothing else. `port`: which input of a target
    that has two it is.
    """

    source: str
    target: str
    routing: Routing
    side: Side | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What runs: chains in the topological order of their records, and the channels between them.

    COMPLETION and BACK channels may go from a later chain to an earlier one. A BACK channel alone closes a circle, that
    of a loop.
    """

    graph: Graph
    chains: tuple[Chain, ...]
    channels: tuple[Channel, ...]


def plan_from_graph(graph: Graph) -> Plan:
    """Fuse neighbouring steps into chains and join the chains by channels.

    A step goes on with the chain of its only input unless one of these stands between: that input is read by others
    too, either of the two stands alone (it waits for replies or for a full batch), their parallelism differs, the
    records must be shuffled by key, or the step asks for something else than what went before, or for a GPU.
    """
    readers = {name: [r for r in found if not _takes_side(r)] for name, found in consumers_of(graph.steps).items()}
    grown: dict[str, list[Step]] = {}
    home: dict[str, str] = {}
    by_name = {step.name: step for step in graph.steps}
    for step in graph.steps:
        before = by_name[step.inputs[0]] if len(step.inputs) == 1 else None
        if before is not None and len(readers[before.name]) == 1 and _fuses(before, step):
            home[step.name] = home[before.name]
        else:
            home[step.name] = step.name
        grown.setdefault(home[step.name], []).append(step)
    chains = tuple(_chain(tuple(steps)) for steps in grown.values())
    channels = (
        *_data_channels(chains, home, by_name),
        *_back_channels(graph.steps, home),
        *_completion_channels(graph.steps, home),
    )
    return Plan(graph, chains, channels)


def _fuses(before: Step, step: Step) -> bool:
    return not (
        _stands_alone(before)
        or _stands_alone(step)
        or isinstance(step.spec, Union | TakeSide)
        or before.parallelism != step.parallelism
        or (isinstance(before.spec, KeyBy | ToAll) and step.parallelism > 1)
        or (step.demand != Demand() and (step.demand.takes_gpu or step.demand != before.demand))
    )


def _takes_side(step: Step) -> bool:
    return isinstance(step.spec, TakeSide)


def _stands_alone(step: Step) -> bool:
    return isinstance(step.spec, Waiting | Iterate) or (
        isinstance(step.spec, MapBatches) and step.spec.max_wait_s is not None
    )


def _chain(steps: tuple[Step, ...]) -> Chain:
    return Chain(steps[0].name, steps, steps[0].parallelism, reduce(Demand.plus, (step.demand for step in steps)))


def _data_channels(chains: Sequence[Chain], home: Mapping[str, str], by_name: Mapping[str, Step]) -> list[Channel]:
    return [
        Channel(home[name], chain.id, _routing(by_name[name], chain.steps[0]), _side(name, chain.steps[0]), port)
        for chain in chains
        for port, name in _inputs(chain.steps[0])
    ]


def _inputs(step: Step) -> list[tuple[int | None, str]]:
    return [(port if takes_two(step.spec) else None, name) for port, name in enumerate(step.inputs)]


def _side(before: str, step: Step) -> Side | None:
    return (before, step.spec.tag) if isinstance(step.spec, TakeSide) else None


def _routing(before: Step, step: Step) -> Routing:
    if isinstance(before.spec, KeyBy) and step.parallelism > 1:
        return Routing.KEYED
    if isinstance(before.spec, ToAll) and step.parallelism > 1:
        return Routing.BROADCAST
    return Routing.FORWARD if before.parallelism == step.parallelism else Routing.ROUND_ROBIN


def _back_channels(steps: Sequence[Step], home: Mapping[str, str]) -> list[Channel]:
    return [Channel(home[last.name], home[head.name], Routing.BACK) for last, head in returns_of(steps)]


def _completion_channels(steps: Sequence[Step], home: Mapping[str, str]) -> list[Channel]:
    pairs = dict.fromkeys((home[filler.name], home[retrieve.name]) for retrieve, filler in fills(steps))
    return [Channel(source, target, Routing.COMPLETION) for source, target in pairs]
