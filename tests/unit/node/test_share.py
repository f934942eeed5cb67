"""Nodes of one machine share what it has: together they offer no more than there is."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.node.share import share_of_offer
from sage.base.offer import Gpu, NodeOffer


@given(num_nodes=st.integers(1, 9), num_gpus=st.integers(0, 8), cpus=st.floats(0.1, 512))
def test_all_shares_together_are_the_machine(num_nodes: int, num_gpus: int, cpus: float) -> None:
    gpus = tuple(Gpu(f"gpu-{number}", str(number), "type", 1) for number in range(num_gpus))
    machine = NodeOffer(cpus, 2**34 + 5, gpus, (("zone", "a"),))
    shares = [share_of_offer(machine, number, num_nodes) for number in range(num_nodes)]
    assert sum(share.cpus for share in shares) <= cpus * (1 + 1e-9)
    assert sum(share.memory_bytes for share in shares) <= machine.memory_bytes
    assert sorted(gpu.id for share in shares for gpu in share.gpus) == sorted(gpu.id for gpu in gpus)
    assert all(share.labels == machine.labels for share in shares)
