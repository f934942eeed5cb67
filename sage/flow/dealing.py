"""Which partitions of a source each instance of its step reads. Pure; knows no source.

All that was read, by however many instances, is known to each of them when it begins: so all deal alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import inf
from typing import Any

from sage.base.errors import SourceUnreadable


@dataclass(frozen=True, slots=True)
class PartitionRead:
    """A partition that was begun: where its reader is, None for its start, and the latest event time it gave."""

    name: str
    position: Any = None
    latest_s: float = -inf


@dataclass(frozen=True, slots=True)
class PartitionsRead:
    """What was read of a source by its partitions: those that were begun, and the names of those that have ended."""

    begun: tuple[PartitionRead, ...] = ()
    ended: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dealt:
    """What one instance reads, in its order; a `position` of None is the start. `ended`: it remembers them for all.

    `listing` is the same for all instances that found the same partitions.
    """

    left: tuple[PartitionRead, ...]
    ended: tuple[str, ...]
    listing: str = ""


def deal(names: Sequence[str], read: PartitionsRead, instance: int, num_instances: int) -> Dealt:
    """Return what `instance` reads of the partitions that there are: those that have not ended are dealt one by one.

    Their order is kept within an instance: where event time goes from one to the next, nothing comes too late by that,
    also where there were another number of instances before. Raises SourceUnreadable for a partition that was begun
    and is gone, and for names that are no names.
    """
    _check_names(names)
    begun = {each.name: each for each in read.begun}
    if gone := sorted(begun.keys() - set(names)):
        raise SourceUnreadable(f"{gone[0]}, which was read before, is not there any more", "Bring it back as it was.")
    ended = set(read.ended)
    left = [begun.get(name) or PartitionRead(name) for name in names if name not in ended]
    return Dealt(
        tuple(left[instance::num_instances]),
        tuple(sorted(ended)[instance::num_instances]),
        sha256("\0".join(names).encode(errors="surrogateescape")).hexdigest()[:16],
    )


def together(readings: Sequence[PartitionsRead]) -> PartitionsRead:
    """Return what several instances have read."""
    ended = dict.fromkeys(name for read in readings for name in read.ended)
    return PartitionsRead(tuple(each for read in readings for each in read.begun), tuple(ended))


def _check_names(names: object) -> None:
    if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise SourceUnreadable(f"partitions are names, got {names!r:.80}", "Let partitions() return a list of texts.")
    if len(set(names)) < len(names):
        twice = next(name for number, name in enumerate(names) if name in names[:number])
        raise SourceUnreadable(f"two partitions are named {twice!r}", "Give each a name of its own.")
