"""One node while parts are placed on it: what it offers and what is left. Pure; knows no other node."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from cluster.jobs.gpus import WHOLE, FreeGpu, GpuShare, millionths, pick
from cluster.jobs.parts import Part
from sage.base.ids import NodeId
from sage.base.offer import NodeOffer
from sage.base.resources import Resources


@dataclass(frozen=True, slots=True)
class Why:
    """Why a part is where it is.

    `has_stayed`: it was there before. `near`: models it asks whose engines are there; `num_asking`: parts there that
    ask the engine it is. `beside`: a part that it exchanges batches with is there, which decided between equals.
    `num_fitting` of `num_nodes` nodes had room for it; `load` is how full this one was then, with it: of CPUs, or of
    what it asks for, whichever is fuller.
    """

    has_stayed: bool = False
    near: tuple[str, ...] = ()
    num_asking: int = 0
    beside: str = ""
    num_fitting: int = 1
    num_nodes: int = 1
    load: float = 0.0


@dataclass(frozen=True, slots=True)
class Placed:
    """A part on its node, with what it holds of which GPU."""

    part: Part
    node_id: NodeId
    gpus: tuple[GpuShare, ...] = ()
    why: Why = field(default=Why(), compare=False)


class Want:
    """What a part asks for in whole numbers, worked out once for all nodes and for all parts that are alike."""

    __slots__ = (
        "apart", "asks", "cpus", "demand", "engine", "gpus", "is_engine", "labels", "memory_bytes", "nominal_cpus",
        "serves", "takes_gpu",
    )  # fmt: skip

    def __init__(self, part: Part) -> None:
        demand = self.demand = part.demand
        self.cpus = millionths(demand.cpus)
        self.nominal_cpus = self.cpus or WHOLE
        self.gpus = millionths(demand.gpus)
        self.memory_bytes = demand.memory_bytes
        self.takes_gpu = demand.takes_gpu
        self.labels = demand.labels
        self.asks = part.asks
        self.serves = part.serves
        self.is_engine = part.is_engine
        self.engine = part.engine
        self.apart = part.apart


class Room:
    """What is left of one node. A part that asks for no CPU still counts as one where load is compared."""

    __slots__ = (
        "_asked", "_busy_cpus", "_cpus", "_models", "_shared_gpus", "engines", "free_cpus", "free_memory", "gpus",
        "groups", "labels", "node_id", "num_engines", "num_parts", "offer",
    )  # fmt: skip

    def __init__(self, node_id: NodeId, offer: NodeOffer) -> None:
        self.node_id = node_id
        self.offer = offer
        self.free_cpus = millionths(offer.cpus)
        self._cpus = self.free_cpus or 1
        self.free_memory = offer.memory_bytes
        self.gpus = [FreeGpu.of(gpu) for gpu in offer.gpus]
        self._shared_gpus = self.gpus if len(self.gpus) == 1 else [gpu for gpu in self.gpus if not gpu.gpu.is_slice]
        self.num_parts = self.num_engines = 0
        self._busy_cpus = 0  # a part that asks for no CPU counts as one
        self.labels = frozenset(offer.labels)
        self.engines = frozenset(offer.engines)
        self._models: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()
        self.groups: set[str] = set()

    @property
    def free(self) -> Resources:
        """What no part has taken; of GPUs the sum of shares."""
        gpus = sum(max(0, gpu.share) for gpu in self.gpus)
        return Resources(max(0, self.free_cpus) / WHOLE, gpus / WHOLE, max(0, self.free_memory))

    def fits(self, want: Want) -> bool:
        if (want.cpus > self.free_cpus and want.cpus) or (want.memory_bytes > self.free_memory and want.memory_bytes):
            return False
        if want.labels and not self.labels.issuperset(want.labels):
            return False
        if want.apart and want.apart in self.groups:
            return False
        if want.engine and not self.engines.issuperset(want.engine):
            return False
        return not want.takes_gpu or pick(self.gpus_for(want), want.demand) is not None

    def gpus_for(self, want: Want) -> list[FreeGpu]:
        """Return the devices that a part may get here. Tasks share the node's process, which can see all its whole
        GPUs or one MIG slice (CUDA's own limit): so slices go to engines, or to tasks of a node that has just one."""
        return self.gpus if want.is_engine else self._shared_gpus

    def shares_for(self, want: Want, before: tuple[GpuShare, ...] = ()) -> tuple[GpuShare, ...]:
        """Return what of its GPUs a part that fits gets: none for most, and what it had `before` if that is free."""
        demand = want.demand
        if not demand.takes_gpu:
            return ()
        held = {share.gpu_id for share in before}
        gpus = self.gpus_for(want)
        again = pick([gpu for gpu in gpus if gpu.gpu.id in held], demand) if held else None
        shares = again or pick(gpus, demand)
        assert shares is not None, "it fits"
        return shares

    def take(self, placed: Placed) -> None:
        """Count a part as being here, whether it fits or not."""
        part = placed.part
        cpus = millionths(part.demand.cpus)
        self.free_cpus -= cpus
        self._busy_cpus += cpus or WHOLE
        self.free_memory -= part.demand.memory_bytes
        if placed.gpus:
            held = {share.gpu_id: share for share in placed.gpus}
            for gpu in self.gpus:
                if (share := held.get(gpu.gpu.id)) is not None:
                    gpu.take(share)
        self.num_parts += 1
        self.num_engines += part.is_engine
        self._models.update(part.serves)
        self._asked.update(part.asks)
        if part.apart:
            self.groups.add(part.apart)

    def hosts(self, models: Iterable[str]) -> tuple[str, ...]:
        """Return those of `models` that an engine here serves."""
        return tuple(model for model in models if model in self._models)

    def num_serving(self, models: Iterable[str]) -> int:
        """Return how many engines of `models` are here."""
        return sum(self._models[model] for model in models)

    def num_asking(self, models: Iterable[str]) -> int:
        """Return how many parts here ask `models`."""
        return sum(self._asked[model] for model in models)

    def load_with(self, want: Want) -> float:
        """Return how full the node were with `want`: 1.0 is full; of what is not asked for, only CPUs count."""
        load = (self._busy_cpus + want.nominal_cpus) / self._cpus
        if want.memory_bytes:
            total = self.offer.memory_bytes
            memory = (total - self.free_memory + want.memory_bytes) / total
            load = memory if memory > load else load
        if want.takes_gpu:
            total = WHOLE * sum(not gpu.gpu.fault for gpu in self.gpus)
            load = max(load, (total - sum(gpu.share for gpu in self.gpus) + want.gpus) / total)
        return load
