"""Memory of a GPU that others hold: all that is used and not by ours, as far as NVML tells; nobody is given it."""

import pytest

from cluster.jobs.gpu_memory import STEP_BYTES, GpuUse, GpuUser, held_by_others
from cluster.jobs.parts import Part
from cluster.jobs.placement import place
from sage.base.demand import Demand
from sage.base.errors import NoRoom
from sage.base.ids import NodeId
from sage.base.offer import Gpu, NodeOffer

OURS = frozenset({7})
S = STEP_BYTES
A = NodeId("a")


@pytest.mark.parametrize(
    ("use", "before_steps", "held_steps"),
    [
        (GpuUse(), None, 0),
        (GpuUse(1), None, 1),
        (GpuUse(4 * S), None, 4),
        (GpuUse(4 * S, (GpuUser(7, 3 * S), GpuUser(8, S))), 2, 1),
        (GpuUse(4 * S, (GpuUser(7, 5 * S),)), 2, 0),
        (GpuUse(9 * S, (GpuUser(7, None), GpuUser(8, S))), 2, 2),
        (GpuUse(9 * S, (GpuUser(8, None),)), 2, 9),
        (GpuUse(9 * S), 2, 2),
        (GpuUse(S), 2, 1),
    ],
    ids=[
        "nothing is used",
        "amounts are rounded up",
        "at first all that is used is theirs",
        "what ours use is taken off",
        "ours cannot use more than all",
        "of ours it is not known",
        "of theirs it need not be known",
        "no processes are named",
        "less is used than they held",
    ],
)
def test_others_hold_what_is_used_and_not_ours(use: GpuUse, before_steps: int | None, held_steps: int) -> None:
    before_bytes = None if before_steps is None else before_steps * S
    assert held_by_others(use, OURS, before_bytes) == held_steps * S


def test_memory_that_others_hold_is_given_to_nobody_and_the_rest_of_a_device_is_whole_while_it_is_most_of_it() -> None:
    little, much = Gpu("GPU-0", "0", "L4", 100, held_bytes=10), Gpu("GPU-1", "1", "L4", 100, held_bytes=30)
    (whole,) = place([Part("0", "part 0", Demand(gpus=1))], {A: NodeOffer(gpus=(much, little))}).placed
    assert [(share.gpu_id, share.memory_bytes) for share in whole.gpus] == [("GPU-0", 90)]
    (asked,) = place([Part("0", "part 0", Demand(gpus=1, gpu_memory_bytes=60))], {A: NodeOffer(gpus=(much,))}).placed
    assert [share.memory_bytes for share in asked.gpus] == [70]
    why = "a has 0 of 1 GPUs free for that, others hold 30 bytes of GPU 1"
    for demand in (Demand(gpus=1), Demand(gpus=0.8), Demand(gpu_memory_bytes=71)):
        with pytest.raises(NoRoom, match=why):
            place([Part("0", "part 0", demand)], {A: NodeOffer(gpus=(much,))})
