"""A plan in words: what is fused, where batches go, what each instance takes, where it runs. Decides nothing."""

from collections.abc import Iterable

import msgspec

from cluster.commands.show import megabytes, print_table
from cluster.jobs.guarantees import guarantees_of
from sage.base.demand import Demand
from sage.flow.plan import Plan


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
    flow: str
    chains: tuple[ExplainedChain, ...]
    channels: tuple[ExplainedChannel, ...]
    placement: tuple[str, ...]
    guarantees: tuple[str, ...]
    guarantees_with_checkpoints: tuple[str, ...]


def explain(plan: Plan, placement: Iterable[str]) -> Explained:
    """Return `plan` as it is shown and printed as JSON. Pure."""
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
    )


def show(explained: Explained) -> None:
    """Print what runs as one task, then the channels between tasks."""
    rows = [(" > ".join(c.steps), c.parallelism, _amount(c.demand), c.lines[0]) for c in explained.chains]
    print(f"flow {explained.flow}\n")
    print_table([("ONE TASK", "TASKS", "EACH TAKES", "BEGINS AT"), *rows])
    if explained.channels:
        print()
        print_table([("FROM", "TO", "ROUTING"), *((c.source, c.target, c.routing) for c in explained.channels)])
    if explained.guarantees:
        print("\nWHAT EACH SINK IS PROMISED\n" + "\n".join(explained.guarantees))
        print("\nAND WITH CHECKPOINTS\n" + "\n".join(explained.guarantees_with_checkpoints))
    if explained.placement:
        print("\nWHERE AND WHY\n" + "\n".join(explained.placement))


def _amount(demand: Demand) -> str:
    parts = [f"{demand.cpus:g} CPUs"] if demand.cpus else []
    parts += [f"{demand.gpus:g} GPUs"] if demand.gpus else []
    parts += [f"{megabytes(demand.gpu_memory_bytes)} of GPU"] if demand.gpu_memory_bytes else []
    parts += [megabytes(demand.memory_bytes)] if demand.memory_bytes else []
    parts += [f"{name}={value}" for name, value in demand.labels]
    return ", ".join(parts) or "nothing reserved"
