"""Amounts of CPU, GPU and memory, and their arithmetic. Knows nothing of machines."""

from math import isfinite

import msgspec


class Resources(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`cpus` and `gpus` in whole or part devices, `memory_bytes` of main memory; nothing is negative."""

    cpus: float = 0.0
    gpus: float = 0.0
    memory_bytes: int = 0

    def __post_init__(self) -> None:
        if self.cpus < 0 or self.gpus < 0 or self.memory_bytes < 0:
            raise ValueError(f"resources are never negative: {self}")

    @property
    def is_finite(self) -> bool:
        return isfinite(self.cpus) and isfinite(self.gpus)

    def fits(self, free: "Resources") -> bool:
        """Say whether this much can be taken from `free`."""
        return self.cpus <= free.cpus and self.gpus <= free.gpus and self.memory_bytes <= free.memory_bytes

    def plus(self, other: "Resources") -> "Resources":
        return Resources(
            _devices(self.cpus + other.cpus), _devices(self.gpus + other.gpus), self.memory_bytes + other.memory_bytes
        )

    def minus(self, other: "Resources") -> "Resources":
        """Return what is left; raises ValueError where `other` does not fit."""
        return Resources(
            _devices(self.cpus - other.cpus), _devices(self.gpus - other.gpus), self.memory_bytes - other.memory_bytes
        )


def _devices(amount: float) -> float:
    """Round to millionths, so that three times 0.1 is taken from 0.3 in any order."""
    return round(amount, 6)
