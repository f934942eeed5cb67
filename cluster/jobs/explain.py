"""Why each part is where it is, in words. Pure; decides nothing."""

from cluster.jobs.gpus import WHOLE, GpuShare
from cluster.jobs.no_room import amounts, number
from cluster.jobs.placement import Placement
from cluster.jobs.room import Placed, Why


def explain(placement: Placement) -> list[str]:
    """Return a line for each part: where it is, what it takes there, and why there."""
    return [_line(placed) for placed in placement.placed]


def _line(placed: Placed) -> str:
    takes = f"takes {amounts(placed.part.demand)}"
    gpus = f" ({', '.join(map(_share, placed.gpus))})" if placed.gpus else ""
    return f"{placed.part.what}: on {placed.node_id}, {takes}{gpus}; {_reason(placed.why)}"


def _share(share: GpuShare) -> str:
    part = f"{number(share.share / WHOLE)} of " if share.share not in (0, WHOLE) else ""
    return f"{part}{share.gpu_id}, {number(share.memory_bytes)} bytes"


def _reason(why: Why) -> str:
    if why.has_stayed:
        return "it stays where it was"
    reasons = [f"near the engine of {', '.join(why.near)}"] if why.near else []
    reasons += [f"near {why.num_asking} that ask it"] if why.num_asking else []
    if why.num_fitting == 1:
        reasons.append("the only node there is" if why.num_nodes == 1 else f"the only one of {why.num_nodes} that fits")
    else:
        reasons.append(f"the best of {why.num_fitting} that fit, {why.load:.0%} full with it")
        reasons += [f"beside {why.beside}"] if why.beside else []
    return ", ".join(reasons)
