"""Machines and readers from the operators' registry, with what this node lends them. Knows no operator."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from cluster.runtime.messages import TaskSpec
from operators.context import Context
from operators.index import IndexStore
from operators.machine import Machine
from operators.posts import Listen, nobody_listens
from operators.registry import machine_for, reader_at, reader_for
from operators.tables import Tables
from operators.turns import ChatTurns, NoTurns
from sage.base.clock import Clock, SystemClock
from sage.base.ids import JobId
from sage.flow.ports import SourceReader


class OperatorWorkshop:
    """Makes what tasks of one node work with; its indexes are shared by all jobs of the node."""

    def __init__(
        self,
        indexes: IndexStore,
        *,
        batch_records: int,
        rng: Random | None = None,
        clock: Clock | None = None,
        turns: Callable[[JobId], ChatTurns] = lambda job_id: NoTurns(),
        listen: Listen = nobody_listens,
    ) -> None:
        """`rng` draws the seeds of the generators that tasks get; by default, one seeded by the system.

        `clock`: by which tasks know what is due; by default the machine's. `turns`: the chat requests of a job.
        `listen` reads what is posted to sources.
        """
        self._listen = listen
        self._unix_s = (clock if clock is not None else SystemClock()).unix_s
        self._turns = turns
        self._indexes = indexes
        self._batch_records = batch_records
        self._rng = rng if rng is not None else Random()

    def machine(self, spec: TaskSpec, tables: Tables | None = None) -> Machine:
        """Return the machine of one task; request ids are drawn from a generator of its own."""
        return machine_for(spec.chain, replace(self._context(spec), tables=tables))

    def reader(self, spec: TaskSpec) -> SourceReader[Any] | None:
        return reader_for(spec.chain, self._context(spec))

    def reader_at(self, spec: TaskSpec, position: Any) -> SourceReader[Any]:
        return reader_at(spec.chain, position, self._context(spec))

    def _context(self, spec: TaskSpec) -> Context:
        rng = Random(self._rng.getrandbits(128))
        turns = self._turns(spec.job_id)
        batch_records, unix_s, listen = self._batch_records, self._unix_s, self._listen
        return Context(
            spec.id,
            rng,
            self._indexes,
            batch_records,
            spec.job_id,
            unix_s,
            turns,
            listen=listen,
            instance=spec.instance,
        )
