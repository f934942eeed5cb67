"""Which GPUs of a node a part gets, and how much of each. Pure; amounts are whole numbers, so that sums are exact.

A process sees at most one MIG slice (CUDA's own limit), so slices are given one by one and never together. Shares of
a device are packed, and the smallest device that does is taken, so that whole and large ones are left for those who
need them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sage.base.demand import Demand
from sage.base.devices import Device
from sage.base.offer import Gpu

WHOLE = 1_000_000
"""A whole device, or a whole CPU, in millionths."""


MOST = 0.9
"""So much of its memory must be free for a device to be whole. Source: what vLLM takes by default."""


def millionths(amount: float) -> int:
    """Return an amount as a whole number: 0.1 taken three times from 0.3 leaves nothing."""
    return round(amount * WHOLE)


@dataclass(frozen=True, slots=True)
class GpuShare:
    """What a part holds of one device; `share` in millionths of its time, 0: only memory. `index`: see Gpu."""

    gpu_id: str
    share: int
    memory_bytes: int
    index: str = field(default="", compare=False)

    @property
    def device(self) -> Device:
        """What a task is told of it."""
        return Device(self.gpu_id, self.index, self.share / WHOLE, self.memory_bytes)


@dataclass(slots=True)
class FreeGpu:
    """What is left of one device."""

    gpu: Gpu
    share: int
    memory_bytes: int

    @staticmethod
    def of(gpu: Gpu) -> "FreeGpu":
        return FreeGpu(gpu, 0 if gpu.fault else WHOLE, 0 if gpu.fault else max(0, gpu.memory_bytes - gpu.held_bytes))

    def take(self, taken: GpuShare) -> None:
        self.share -= taken.share
        self.memory_bytes -= taken.memory_bytes

    def share_for(self, share: int, memory_bytes: int) -> GpuShare | None:
        """Return what a part gets that asks for this much, or None where it is not there.

        A whole device comes with all of its memory that others leave, which must be what was asked for, or MOST of it
        where nothing was; a share of which no memory was said comes with as large a share.
        """
        if share == WHOLE:
            wanted = max(memory_bytes or int(self.gpu.memory_bytes * MOST), self.gpu.memory_bytes - self.gpu.held_bytes)
        else:
            wanted = memory_bytes or self.gpu.memory_bytes * share // WHOLE
        if self.gpu.fault or share > self.share or wanted > self.memory_bytes:
            return None
        return GpuShare(self.gpu.id, share, wanted, self.gpu.index)


def pick(free: Sequence[FreeGpu], demand: Demand) -> tuple[GpuShare, ...] | None:
    """Return what of `free` fits `demand`, or None where that is not there; several devices are of one type."""
    num_whole, rest = divmod(millionths(demand.gpus), WHOLE)
    shares = [WHOLE] * num_whole + ([rest] if rest or not num_whole else [])
    suitable = [gpu for gpu in free if is_of_type(gpu.gpu, demand.gpu_type)]
    if len(shares) == 1:
        return _pick(suitable, shares, demand.gpu_memory_bytes)
    groups: dict[str, list[FreeGpu]] = {}
    for gpu in suitable:
        if not gpu.gpu.is_slice:
            groups.setdefault(gpu.gpu.type, []).append(gpu)
    for group in sorted(groups.values(), key=lambda group: group[0].gpu.memory_bytes):
        if found := _pick(group, shares, demand.gpu_memory_bytes):
            return found
    return None


def is_of_type(gpu: Gpu, wanted: str) -> bool:
    return wanted.casefold() in gpu.type.casefold()


def _pick(free: Sequence[FreeGpu], shares: Sequence[int], memory_bytes: int) -> tuple[GpuShare, ...] | None:
    left = sorted(free, key=lambda gpu: (gpu.gpu.memory_bytes, gpu.share, gpu.memory_bytes))
    picked = []
    for share in shares:
        for gpu in left:
            if found := gpu.share_for(share, memory_bytes):
                left.remove(gpu)
                picked.append(found)
                break
        else:
            return None
    return tuple(picked)
