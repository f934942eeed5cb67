"""Which parts hold a GPU that is of no use any more. Pure; knows neither jobs nor engines."""

from collections.abc import Iterable, Iterator

from cluster.jobs.room import Placed
from sage.base.errors import DeviceLost
from sage.base.ids import NodeId
from sage.base.offer import NodeOffer


def struck(placed: Iterable[Placed], node_id: NodeId, offer: NodeOffer) -> Iterator[tuple[Placed, DeviceLost]]:
    """Yield each part on the node that holds a GPU with a fault, or one that is offered no more, and why."""
    faults = {gpu.id: (gpu.index, gpu.fault) for gpu in offer.gpus}
    for each in placed:
        if each.node_id == node_id and (why := _why(each, faults)):
            yield each, DeviceLost(f"{each.part.what} on node {node_id} has lost {why}")


def _why(placed: Placed, faults: dict[str, tuple[str, str]]) -> str:
    for share in placed.gpus:
        index, fault = faults.get(share.gpu_id, ("", "it is offered no more"))
        if fault:
            return f"its GPU {index} ({share.gpu_id}): {fault}" if index else f"its GPU {share.gpu_id}: {fault}"
    return ""
