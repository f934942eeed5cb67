"""The part of a machine that one of several nodes on it offers. Pure."""

import msgspec

from sage.base.offer import NodeOffer


def share_of_offer(offer: NodeOffer, number: int, num_nodes: int) -> NodeOffer:
    """Return what node `number` of `num_nodes` offers: an equal part of CPUs and memory, every so manyeth GPU."""
    return msgspec.structs.replace(
        offer,
        cpus=offer.cpus / num_nodes,
        memory_bytes=offer.memory_bytes // num_nodes,
        gpus=offer.gpus[number::num_nodes],
    )
