"""How much of a GPU's memory others hold, from what NVML says of its processes. Pure.

What others hold is offered to nobody. NVML counts all that is used; what our own processes use is taken off, as
placement counts that itself.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass

STEP_BYTES = 256 << 20
"""Amounts are rounded up to whole steps, so that an offer does not change with every small allocation."""


@dataclass(frozen=True, slots=True)
class GpuUser:
    """A process that holds memory of a device; `memory_bytes` None: NVML does not say how much."""

    pid: int
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class GpuUse:
    """What is used of a device's memory in all, the driver's own part included, and by whom as far as NVML knows."""

    used_bytes: int = 0
    users: tuple[GpuUser, ...] = ()


NOTHING_USED = GpuUse()


def held_by_others(use: GpuUse, ours: Container[int], before_bytes: int | None) -> int:
    """Return how many bytes others hold, a multiple of STEP_BYTES.

    `ours` are the processes of this node. `before_bytes` is what others held at the look before, None at the first:
    then nothing of ours runs yet, and all that is used is theirs. In a container NVML may name no processes, or not
    say what ours use: others then hold what they held before, or less if less is used in all.
    """
    own = [user.memory_bytes for user in use.users if user.pid in ours]
    is_known = use.users and None not in own
    is_told = is_known or before_bytes is None
    held = use.used_bytes - _sum(own) if is_told else min(before_bytes or 0, use.used_bytes)
    return -(-max(0, held) // STEP_BYTES) * STEP_BYTES


def _sum(amounts: Iterable[int | None]) -> int:
    return sum(amount or 0 for amount in amounts)
