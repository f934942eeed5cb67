"""Machines and readers from the operators' registry, with what this node lends them. Knows no operator."""

from random import Random
from typing import Any

from cluster.runtime.messages import TaskSpec
from operators.context import Context
from operators.index import IndexStore
from operators.machine import Machine
from operators.registry import machine_for, reader_at, reader_for
from sage.flow.ports import SourceReader


class OperatorWorkshop:
    """Makes what tasks of one node work with; its indexes are shared by all jobs of the node."""

    def __init__(self, indexes: IndexStore, *, batch_records: int, rng: Random | None = None) -> None:
        """`rng` draws the seeds of the generators that tasks get; by default, one seeded by the system."""
        self._indexes = indexes
        self._batch_records = batch_records
        self._rng = rng if rng is not None else Random()

    def machine(self, spec: TaskSpec) -> Machine:
        """Return the machine of one task; request ids are drawn from a generator of its own."""
        rng = Random(self._rng.getrandbits(128))
        return machine_for(spec.chain, Context(spec.id, rng, self._indexes, self._batch_records))

    def reader(self, spec: TaskSpec) -> SourceReader[Any] | None:
        return reader_for(spec.chain)

    def reader_at(self, spec: TaskSpec, position: Any) -> SourceReader[Any]:
        return reader_at(spec.chain, position)
