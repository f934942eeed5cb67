"""`python -m benchmarks.placement [FILE]`: how long parts take to be placed on simulated nodes. Starts nothing.

Each result is checked: every part is placed, and no node gives more CPUs, memory or GPUs than it has.
"""

import sys
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from random import Random
from statistics import median

from benchmarks.deliver import deliver
from benchmarks.document import Result, document_of
from benchmarks.measure import Run, in_turns
from cluster.jobs.gpus import WHOLE
from cluster.jobs.parts import Part
from cluster.jobs.placement import Placement, Strategy, place, replace
from sage.base.clock import Clock, SystemClock
from sage.base.demand import Demand
from sage.base.errors import InternalError
from sage.base.ids import NodeId
from sage.base.offer import Gpu, NodeOffer

NUM_NODES = 100
NUM_PARTS = 1_000
NUM_ROUNDS = 21
SEED = 7
GIB = 1 << 30

Offers = dict[NodeId, NodeOffer]


class PlacementResult(Result, frozen=True, kw_only=True):
    """`n` parts of `num_shapes` different demands."""

    num_nodes: int
    num_shapes: int
    placed_ms_median: float
    placed_ms_max: float
    num_rounds: int


def measure_placement(*, num_nodes: int, num_parts: int, num_rounds: int, seed: int, clock: Clock) -> list[Result]:
    """Time placing with few, many and only different demands, and placing anew when a node is lost."""
    results: list[Result] = []
    offers = offers_of(num_nodes)
    for num_shapes in (num_parts // 100, num_parts // 10, num_parts):
        ways = ways_of(parts_of(num_parts, num_shapes, Random(seed)), offers)
        seconds = in_turns(
            {name: partial(_ready, run) for name, run in ways.items()},
            num_rounds=num_rounds,
            clock=clock,
            check=lambda _, outcome: check(outcome, num_parts, offers),
        )
        results += [
            PlacementResult(
                engine="placement",
                workload=name,
                n=num_parts,
                checked=True,
                simulated=True,
                num_nodes=num_nodes,
                num_shapes=num_shapes,
                placed_ms_median=round(median(taken) * 1e3, 2),
                placed_ms_max=round(max(taken) * 1e3, 2),
                num_rounds=num_rounds,
            )
            for name, taken in seconds.items()
        ]
    return results


def offers_of(num_nodes: int) -> Offers:
    """Return nodes of 64 CPUs and 256 GiB in two zones; every fourth has four GPUs of 80 GiB."""
    return {
        NodeId(f"node-{node}"): NodeOffer(
            cpus=64.0,
            memory_bytes=256 * GIB,
            gpus=tuple(Gpu(f"GPU-{node}-{gpu}", str(gpu), "NVIDIA H100", 80 * GIB) for gpu in range(4))
            if node % 4 == 0
            else (),
            labels=(("zone", "ab"[node % 2]),),
        )
        for node in range(num_nodes)
    }


def parts_of(num_parts: int, num_shapes: int, rng: Random) -> list[Part]:
    """Return parts of `num_shapes` demands, of which one in ten takes part of a GPU and one in ten asks for a zone."""
    demands = [
        Demand(
            cpus=rng.randrange(1, 40) / 10,
            memory_bytes=rng.randrange(1, 8 * GIB),
            gpus=rng.choice((0.25, 0.5)) if shape % 10 == 3 else 0.0,
            labels=(("zone", "a"),) if shape % 10 == 7 else (),
        )
        for shape in range(num_shapes)
    ]
    return [Part(f"part-{number}", f"part {number}", demands[number % num_shapes]) for number in range(num_parts)]


def ways_of(parts: Sequence[Part], offers: Offers) -> dict[str, Run]:
    """Return what is timed, by its name."""
    spread = place(parts, offers)
    left = {node_id: offers[node_id] for node_id in list(offers)[1:]}
    return {
        "spread": partial(place, parts, offers),
        "pack": partial(place, parts, offers, strategy=Strategy.PACK),
        "a node lost": partial(replace, spread, parts, left),
    }


def check(outcome: object, num_parts: int, offers: Offers) -> None:
    """Add up what every node and GPU gives; raises InternalError where that is more than it has."""
    assert isinstance(outcome, Placement)
    cpus: dict[str, float] = defaultdict(float)
    memory_bytes: dict[str, int] = defaultdict(int)
    gpus: dict[str, int] = defaultdict(int)
    for placed in outcome.placed:
        cpus[placed.node_id] += placed.part.demand.cpus
        memory_bytes[placed.node_id] += placed.part.demand.memory_bytes
        for share in placed.gpus:
            gpus[share.gpu_id] += share.share
    fits = all(cpus[node_id] <= offer.cpus + 1e-6 for node_id, offer in offers.items())
    fits &= all(memory_bytes[node_id] <= offer.memory_bytes for node_id, offer in offers.items())
    if not (fits and all(share <= WHOLE for share in gpus.values()) and len(outcome.placed) == num_parts):
        raise InternalError("a placement gives more than there is, or forgets a part")


def _ready(run: Run) -> Run:
    return run


def main(target: str | None) -> None:
    """Measure, print the table, and write the document to the file `target` where one is named."""
    command = "python -m benchmarks.placement"
    sizes = {"num_nodes": NUM_NODES, "num_parts": NUM_PARTS, "num_rounds": NUM_ROUNDS}
    clock = SystemClock()
    document = document_of(
        command, seed=SEED, clock=clock, results=lambda: measure_placement(**sizes, seed=SEED, clock=clock)
    )
    deliver(document, target)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
