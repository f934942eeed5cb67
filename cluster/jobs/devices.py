"""What a node offers, from what was read of its machine; and which GPUs are given to nobody. Pure.

A GPU that is cut into MIG slices offers its slices and not itself. One that an XID error or NVML itself calls broken is
cordoned: it stays in the offer with its fault, so that whoever finds no room is told why.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cluster.jobs.cgroup import GroupLimits
from cluster.jobs.gpu_memory import NOTHING_USED, GpuUse, held_by_others
from sage.base.demand import Labels
from sage.base.errors import ConfigInvalid
from sage.base.offer import Gpu, NodeOffer

N = TypeVar("N", int, float)

HARMLESS_XIDS = frozenset({8, 11, 13, 31, 43, 45, 63, 68, 92, 94, 109})
"""XID errors after which the device is sound: the application's fault (8, 11, 13, 31, 43, 45, 68, 109), or memory that
the device has dealt with itself (63, 92, 94). All others cordon it. Source: NVIDIA's Xid catalogue (immediate action
"restart application" or none) and the health check of NVIDIA's device plugin for Kubernetes."""


@dataclass(frozen=True, slots=True)
class GpuReading:
    """A GPU or MIG slice as NVML has it. `parent_id`: the UUID of the GPU that a slice is cut from, else its own.

    `instance`: the GPU and compute instance of a slice. `fault`: what NVML itself says against it. `use`: of its
    memory.
    """

    id: str
    index: str
    type: str
    memory_bytes: int
    parent_id: str
    instance: tuple[int, int] | None = None
    fault: str = ""
    use: GpuUse = NOTHING_USED


@dataclass(frozen=True, slots=True)
class Xid:
    """An error that the driver reported; `instance` where it hit one slice only."""

    parent_id: str
    number: int
    instance: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Readings:
    """What was read. `num_cpus`: that this process may run on. `gpu_trouble`: why no GPU could be looked for.

    `own_pids`: those of the GPUs' users that are this process or come from it.
    """

    num_cpus: int
    memory_bytes: int
    limits: GroupLimits = GroupLimits()
    gpus: tuple[GpuReading, ...] = ()
    gpu_trouble: str = ""
    own_pids: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Wish:
    """What the owner of the machine lets it offer; None: all there is."""

    cpus: float | None = None
    num_gpus: int | None = None
    labels: Labels = ()


class Offering:
    """What a node offers, look after look, while its GPUs break, vanish and come back.

    A GPU that is gone is sound again when it is seen again. One with a fatal XID is not: only a reset mends that, and
    whoever resets a device starts its node anew.
    """

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._chosen: frozenset[str] | None = None
        self._known: dict[str, GpuReading] = {}
        self._broken: dict[str, str] = {}
        self._held_bytes: dict[str, int] = {}

    def saw(self, xids: Iterable[Xid]) -> None:
        """Take errors that the driver reported."""
        for xid in xids:
            if xid.number not in HARMLESS_XIDS:
                for gpu in self._known.values():
                    if gpu.parent_id == xid.parent_id and xid.instance in (None, gpu.instance):
                        self._broken.setdefault(gpu.id, f"XID {xid.number}")

    def offer(self, readings: Readings) -> NodeOffer:
        """Return what is offered now.

        Raises ConfigInvalid where, at the first look, fewer GPUs are sound than were wished for; later those that were
        chosen then stay, sound or not.
        """
        gpus = self._gpus(readings)
        if self._wish.num_gpus is not None and self._chosen is None:
            gpus = _first_sound(gpus, self._wish.num_gpus, readings.gpu_trouble)
            self._chosen = frozenset(gpu.id for gpu in gpus)
        limits = readings.limits
        return NodeOffer(
            cpus=_least(float(readings.num_cpus), limits.cpus) if self._wish.cpus is None else self._wish.cpus,
            memory_bytes=_least(readings.memory_bytes, limits.memory_bytes),
            gpus=tuple(gpu for gpu in gpus if self._chosen is None or gpu.id in self._chosen),
            labels=self._wish.labels,
        )

    def _gpus(self, readings: Readings) -> list[Gpu]:
        """Return every GPU there ever was: what is there no more has a fault, as has what broke."""
        here = {gpu.id: gpu for gpu in readings.gpus}
        self._known |= here
        for gpu in readings.gpus:
            before = self._held_bytes.get(gpu.id)
            self._held_bytes[gpu.id] = held_by_others(gpu.use, readings.own_pids, before)
        gone = readings.gpu_trouble or "it is gone"
        return [
            Gpu(
                id=gpu.id,
                index=gpu.index,
                type=gpu.type,
                memory_bytes=gpu.memory_bytes,
                is_slice=gpu.instance is not None,
                held_bytes=self._held_bytes.get(gpu.id, 0),
                fault=self._broken.get(gpu.id, "") or (gpu.fault if gpu.id in here else gone),
            )
            for gpu in self._known.values()
        ]


def _least(amount: N, limit: N | None) -> N:
    return amount if limit is None else min(amount, limit)


def _first_sound(gpus: Sequence[Gpu], num_gpus: int, trouble: str) -> list[Gpu]:
    sound = [gpu for gpu in gpus if not gpu.fault]
    if num_gpus > len(sound):
        faults = [f"GPU {gpu.index}: {gpu.fault}" for gpu in gpus if gpu.fault]
        why = "; ".join([*faults, trouble] if trouble else faults)
        what = f"{num_gpus} GPUs are to be offered, {len(sound)} are usable{f' ({why})' if why else ''}"
        raise ConfigInvalid(what, "Offer fewer; sage doctor says what was found.", param="gpus")
    return sound[:num_gpus]
