"""What a node offers, from what was read of its machine; and which GPUs are given to nobody. Pure.

A GPU that is cut into MIG slices offers its slices and not itself. One that an XID error or NVML itself calls broken is
cordoned: it stays in the offer with its fault, so that whoever finds no room is told why.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from cluster.jobs.cgroup import GroupLimits
from sage.base.demand import Labels
from sage.base.errors import ConfigInvalid
from sage.base.offer import Gpu, NodeOffer

HARMLESS_XIDS = frozenset({8, 11, 13, 31, 43, 45, 63, 68, 92, 94, 109})
"""XID errors after which the device is sound: the application's fault (8, 11, 13, 31, 43, 45, 68, 109), or memory that
the device has dealt with itself (63, 92, 94). All others cordon it. Source: NVIDIA's Xid catalogue (immediate action
"restart application" or none) and the health check of NVIDIA's device plugin for Kubernetes."""


@dataclass(frozen=True, slots=True)
class GpuReading:
    """A GPU or MIG slice as NVML has it. `parent_id`: the UUID of the GPU that a slice is cut from, else its own.

    `instance`: the GPU and compute instance of a slice. `fault`: what NVML itself says against it.
    """

    id: str
    index: str
    type: str
    memory_bytes: int
    parent_id: str
    instance: tuple[int, int] | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Xid:
    """An error that the driver reported; `instance` where it hit one slice only."""

    parent_id: str
    number: int
    instance: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Readings:
    """What was read. `num_cpus`: that this process may run on. `gpu_trouble`: why no GPU could be looked for."""

    num_cpus: int
    memory_bytes: int
    limits: GroupLimits = GroupLimits()
    gpus: tuple[GpuReading, ...] = ()
    gpu_trouble: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the owner of the machine lets it offer; None: all there is."""

    cpus: float | None = None
    num_gpus: int | None = None
    labels: Labels = ()


def offer_from_readings(readings: Readings, wish: Wish = Wish(), faults: Mapping[str, str] | None = None) -> NodeOffer:
    """Return what the machine offers; `faults` says of a GPU, by its id, why it is cordoned.

    Raises ConfigInvalid where more GPUs are wished for than are sound.
    """
    allowed = [amount for amount in (float(readings.num_cpus), readings.limits.cpus) if amount is not None]
    memory = [amount for amount in (readings.memory_bytes, readings.limits.memory_bytes) if amount is not None]
    return NodeOffer(
        cpus=min(allowed) if wish.cpus is None else wish.cpus,
        memory_bytes=min(memory),
        gpus=_wished(_gpus(readings.gpus, faults or {}), wish.num_gpus, readings.gpu_trouble),
        labels=wish.labels,
    )


def _gpus(readings: Iterable[GpuReading], faults: Mapping[str, str]) -> tuple[Gpu, ...]:
    return tuple(
        Gpu(
            id=gpu.id,
            index=gpu.index,
            type=gpu.type,
            memory_bytes=gpu.memory_bytes,
            is_slice=gpu.instance is not None,
            fault=faults.get(gpu.id, "") or gpu.fault,
        )
        for gpu in readings
    )


def _wished(gpus: tuple[Gpu, ...], num_gpus: int | None, trouble: str) -> tuple[Gpu, ...]:
    if num_gpus is None:
        return gpus
    sound = [gpu for gpu in gpus if not gpu.fault]
    if num_gpus > len(sound):
        faults = [f"GPU {gpu.index}: {gpu.fault}" for gpu in gpus if gpu.fault]
        why = "; ".join([*faults, trouble] if trouble else faults)
        what = f"{num_gpus} GPUs are wished for, {len(sound)} are usable{f' ({why})' if why else ''}"
        raise ConfigInvalid(what, "Ask for fewer, or for none; sage doctor says what was found.", param="gpus")
    return tuple(sound[:num_gpus])


class GpuHealth:
    """Which GPUs are cordoned, and why. A GPU that is gone comes back when it is seen again; one with a fatal XID not.

    (Only a reset mends that, and whoever resets a device starts its node anew.)
    """

    def __init__(self) -> None:
        self._known: dict[str, GpuReading] = {}
        self._by_xid: dict[str, str] = {}

    def saw(self, xids: Iterable[Xid]) -> None:
        """Take errors that the driver reported."""
        for xid in xids:
            if xid.number not in HARMLESS_XIDS:
                for gpu in self._known.values():
                    if gpu.parent_id == xid.parent_id and xid.instance in (None, gpu.instance):
                        self._by_xid.setdefault(gpu.id, f"XID {xid.number}")

    def looked(self, readings: Readings) -> Readings:
        """Return `readings` with every GPU there ever was: what is there no more has a fault, as has what broke."""
        here = {gpu.id: gpu for gpu in readings.gpus}
        self._known |= here
        trouble = readings.gpu_trouble or "it is gone"
        gpus = [gpu if gpu.id in here else replace(gpu, fault=trouble) for gpu in self._known.values()]
        marked = [replace(gpu, fault=self._by_xid.get(gpu.id, gpu.fault)) for gpu in gpus]
        return replace(readings, gpus=tuple(marked))
