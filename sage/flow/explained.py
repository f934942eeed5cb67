"""A plan in words: what is fused, where batches go, what sinks are promised, what runs where. Decides nothing."""

from collections.abc import Iterable, Iterator

import msgspec

from sage.base.aligned import aligned
from sage.base.amounts import megabytes
from sage.base.demand import Demand
from sage.flow.checkpoint import StateKept
from sage.flow.guarantees import guarantees_of
from sage.flow.plan import Plan
from sage.flow.state_kept import state_lines


class ExplainedChain(msgspec.Struct, frozen=True):
    """Steps that run as one function in `parallelism` tasks; `lines` are where the user wrote them."""

    id: str
    steps: tuple[str, ...]
    parallelism: int
    demand: Demand
    lines: tuple[str, ...]


class ExplainedChannel(msgspec.Struct, frozen=True):
    source: str
    target: str
    routing: str


class Explained(msgspec.Struct, frozen=True):
    """How a flow would run; as text, with headings. `placement`: where each task would be, as far as that is known."""

    flow: str
    chains: tuple[ExplainedChain, ...]
    channels: tuple[ExplainedChannel, ...]
    placement: tuple[str, ...]
    guarantees: tuple[str, ...]
    guarantees_with_checkpoints: tuple[str, ...]
    state: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n\n".join(_sections(self))


def explain(plan: Plan, placement: Iterable[str] = (), state: StateKept = "memory") -> Explained:
    """Return `plan` as it is shown and printed as JSON; `state`: where that of keys is. Pure."""
    return Explained(
        plan.graph.name,
        tuple(
            ExplainedChain(
                chain.id,
                tuple(step.name for step in chain.steps),
                chain.parallelism,
                chain.demand,
                tuple(str(step.where) for step in chain.steps),
            )
            for chain in plan.chains
        ),
        tuple(ExplainedChannel(c.source, c.target, c.routing.value) for c in plan.channels),
        tuple(placement),
        guarantees_of(plan.graph, 0),
        guarantees_of(plan.graph, 0, is_kept=True),
        state_lines(plan.graph, state),
    )


def _sections(explained: Explained) -> Iterator[str]:
    """Yield what runs as one task, then the channels between tasks, then what is promised."""
    rows = [(" > ".join(c.steps), c.parallelism, _amount(c.demand), c.lines[0]) for c in explained.chains]
    yield f"flow {explained.flow}"
    yield aligned([("ONE TASK", "TASKS", "EACH TAKES", "BEGINS AT"), *rows], num_left=4)
    if explained.channels:
        channels = [(c.source, c.target, c.routing) for c in explained.channels]
        yield aligned([("FROM", "TO", "ROUTING"), *channels], num_left=3)
    if explained.guarantees:
        yield "\n".join(["WHAT EACH SINK IS PROMISED", *explained.guarantees])
        yield "\n".join(["AND WITH CHECKPOINTS", *explained.guarantees_with_checkpoints])
    if explained.state:
        yield "\n".join(["WHERE STATE IS KEPT", *explained.state])
    if explained.placement:
        yield "\n".join(["WHERE AND WHY", *explained.placement])


def _amount(demand: Demand) -> str:
    parts = [f"{demand.cpus:g} CPUs"] if demand.cpus else []
    parts += [f"{demand.gpus:g} GPUs"] if demand.gpus else []
    parts += [f"{megabytes(demand.gpu_memory_bytes)} of GPU"] if demand.gpu_memory_bytes else []
    parts += [f"type {demand.gpu_type}"] if demand.gpu_type else []
    parts += [megabytes(demand.memory_bytes)] if demand.memory_bytes else []
    parts += [f"{name}={value}" for name, value in demand.labels]
    parts += ["each on a node of its own"] if demand.anti_affinity else []
    return ", ".join(parts) or "nothing reserved"
