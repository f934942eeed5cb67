"""What a node offers: CPUs, memory, GPUs one by one, labels, kinds of engines. Knows nothing of who takes it."""

import msgspec

from sage.base.demand import Labels
from sage.base.resources import Resources


class Gpu(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A GPU, or one MIG slice of a GPU that is cut up: what a process can be given.

    `id` is its UUID, `index` as in nvidia-smi (`"0"`, the second slice of it `"0:1"`), `type` its name. `fault`: why it
    is given to nobody; "": it is sound. `held_bytes`: memory that programs hold which are none of the node's.
    """

    id: str
    index: str
    type: str
    memory_bytes: int
    is_slice: bool = False
    fault: str = ""
    held_bytes: int = 0


class NodeOffer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a node has in all.

    `engines`: what engines it can host: the kinds whose packages it has, and `KIND:MODEL` where it has the files too.
    """

    cpus: float = 0.0
    memory_bytes: int = 0
    gpus: tuple[Gpu, ...] = ()
    labels: Labels = ()
    engines: tuple[str, ...] = ()

    @property
    def total(self) -> Resources:
        """The amounts; GPUs with a fault do not count."""
        return Resources(self.cpus, float(sum(not gpu.fault for gpu in self.gpus)), self.memory_bytes)
