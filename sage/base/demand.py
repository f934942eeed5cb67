"""What one instance asks of the node it runs on. Knows nothing of nodes."""

from collections.abc import Mapping

import msgspec

from sage.base.resources import Resources

Labels = tuple[tuple[str, str], ...]
"""Names and values, in the order of the names."""


class Demand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Amounts that are reserved, and what must hold of the node and of its GPUs.

    `gpus`: whole devices, and a share of one more: 1.5 is one GPU and half of another. `gpu_memory_bytes`: on each GPU
    that is taken; without `gpus`, on one GPU that is shared. `gpu_type`: what its name holds, in any case of letters:
    "h100". `labels`: those that the node must have. `anti_affinity`: no two instances share a node.
    """

    cpus: float = 0.0
    gpus: float = 0.0
    memory_bytes: int = 0
    gpu_memory_bytes: int = 0
    gpu_type: str = ""
    labels: Labels = ()
    anti_affinity: bool = False

    def __post_init__(self) -> None:
        if not (self.amounts.is_finite and self.gpu_memory_bytes >= 0):
            raise ValueError(f"resources are never negative and never infinite: {self}")

    @property
    def amounts(self) -> Resources:
        return Resources(self.cpus, self.gpus, self.memory_bytes)

    @property
    def takes_gpu(self) -> bool:
        return self.gpus > 0 or self.gpu_memory_bytes > 0

    def plus(self, other: "Demand") -> "Demand":
        """Return what both ask of one node; only one of the two may take a GPU."""
        assert not (self.takes_gpu and other.takes_gpu), (self, other)
        sum_ = self.amounts.plus(other.amounts)
        return Demand(
            sum_.cpus,
            sum_.gpus,
            sum_.memory_bytes,
            self.gpu_memory_bytes or other.gpu_memory_bytes,
            self.gpu_type or other.gpu_type,
            tuple(sorted({*self.labels, *other.labels})),
            self.anti_affinity or other.anti_affinity,
        )


def labels_from_text(text: str) -> Labels:
    """Return the labels that `text` lists.

    >>> labels_from_text("zone=a,disk=ssd")
    (('disk', 'ssd'), ('zone', 'a'))
    >>> labels_from_text("")
    ()
    """
    pairs = (pair.partition("=") for pair in text.split(",") if pair)
    return labels_from_mapping({name.strip(): value.strip() for name, _, value in pairs})


def labels_from_mapping(labels: Mapping[str, str]) -> Labels:
    """Return `labels` in the order of their names."""
    return tuple(sorted(labels.items()))
