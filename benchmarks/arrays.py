"""W1 over NumPy arrays, and across a thread: the same computation and the same oracle in other shapes.

Knows nothing of clocks or runners.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

import sage
from benchmarks.integers import grow, halve, is_even
from benchmarks.workloads import Counted, Outcome, Stateless

NUM_AT_ONCE = 16

Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class NumberArrays:
    """A source of the integers below `num_records`, as arrays of `len_array`: a record is an array."""

    num_records: int
    len_array: int

    def open(self) -> "_NumberArraysReader":
        return _NumberArraysReader(self)

    def pieces(self) -> Iterator[Array]:
        for start in range(0, self.num_records, self.len_array):
            yield np.arange(start, min(start + self.len_array, self.num_records))


class _NumberArraysReader:
    def __init__(self, arrays: NumberArrays) -> None:
        self._pieces = arrays.pieces()

    def read(self, max_records: int) -> list[Array] | None:
        """Return the next few arrays: each is as large as a batch."""
        return list(islice(self._pieces, min(max_records, NUM_AT_ONCE))) or None

    def close(self) -> None:
        pass


def grow_all(values: Array) -> Array:
    return values * 3 + 1


def keep_even(values: Array) -> Array:
    kept: Array = values[values % 2 == 0]
    return kept


def halve_all(values: Array) -> Array:
    return values // 2


@dataclass(slots=True)
class _ArrayTotals:
    """Counts and sums what ends a stream of arrays."""

    num: int = 0
    total: int = 0

    def __call__(self, batch: Sequence[Array]) -> list[int]:
        for values in batch:
            self.num += len(values)
            self.total += int(values.sum())
        return []


@dataclass(frozen=True, slots=True)
class StatelessArrays:
    """W1 with records that are arrays of `len_array` integers; the plain loop is NumPy over the same arrays."""

    num_records: int
    len_array: int
    name: str = "W1-numpy"

    @property
    def data(self) -> str:
        return f"integers below {self.num_records:,}, in arrays of {self.len_array:,}"

    def plain(self) -> Outcome:
        num = total = 0
        for values in NumberArrays(self.num_records, self.len_array).pieces():
            kept = halve_all(keep_even(grow_all(values)))
            num += len(kept)
            total += int(kept.sum())
        return num, total

    def flow(self) -> tuple[sage.Flow, Callable[[], Outcome]]:
        totals = _ArrayTotals()
        flow = sage.Flow("w1-numpy")
        arrays = flow.from_source(NumberArrays(self.num_records, self.len_array))
        arrays.map(grow_all).map(keep_even).map(halve_all).map_batches(totals).collect()
        return flow, lambda: (totals.num, totals.total)

    def expected(self) -> Outcome:
        return Stateless(self.num_records).expected()


@dataclass(frozen=True, slots=True)
class StatelessAcross:
    """W1 whose records go from the task that maps them to another, on a thread of its own, that counts them."""

    num_records: int
    name: str = "W1-hop"

    @property
    def data(self) -> str:
        return f"integers below {self.num_records:,}, across a thread"

    def plain(self) -> Outcome:
        return Stateless(self.num_records).plain()

    def flow(self) -> tuple[sage.Flow, Callable[[], Outcome]]:
        totals = Counted()
        flow = sage.Flow("w1-hop")
        halved = flow.from_collection(range(self.num_records)).map(grow).filter(is_even).map(halve)
        # What asks for other resources is a task of its own.
        halved.map_batches(totals).with_resources(cpus=0.25).collect()
        return flow, lambda: (totals.num, totals.total)

    def expected(self) -> Outcome:
        return Stateless(self.num_records).expected()
