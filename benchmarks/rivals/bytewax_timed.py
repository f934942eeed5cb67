"""Running sums with and without recovery, and records one by one, as Bytewax has them. Imports nothing of SAGE."""

from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, FixedPartitionedSource, StatefulSourcePartition, StatelessSourcePartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main

from benchmarks.pace import SteadyPace
from benchmarks.rivals.bytewax_ends import BytewaxSink
from benchmarks.rivals.rival_wanted import Form, RivalWanted


class _Numbers(FixedPartitionedSource[int, int]):
    """Numbers from 0 on, a batch a call; a snapshot is the next one."""

    def __init__(self, num_records: int, batch_records: int) -> None:
        self._num_records = num_records
        self._batch_records = batch_records

    def list_parts(self) -> list[str]:
        return ["all"]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> "_NumbersFrom":
        return _NumbersFrom(resume_state or 0, self._num_records, self._batch_records)


class _NumbersFrom(StatefulSourcePartition[int, int]):
    def __init__(self, start: int, num_records: int, batch_records: int) -> None:
        self._at = start
        self._num_records = num_records
        self._batch_records = batch_records

    def next_batch(self) -> list[int]:
        if self._at >= self._num_records:
            raise StopIteration
        batch = list(range(self._at, min(self._at + self._batch_records, self._num_records)))
        self._at += len(batch)
        return batch

    def snapshot(self) -> int:
        return self._at


def running_sums(asked: RivalWanted, *, is_kept: bool) -> Form:
    """An epoch is what lies between two checkpoints; what is kept goes into one file of SQLite."""
    keys = [str(key) for key in range(asked.num_keys)]  # keys are texts, made once
    latest: dict[str, int] = {}
    times_s: list[float] = []
    num_updates = [0]

    def key_of(number: int) -> str:
        return keys[number % asked.num_keys]

    def add(state: int | None, number: int) -> tuple[int, int]:
        total = (state or 0) + number
        return total, total

    def take(items: list[tuple[str, int]]) -> None:
        latest.update(items)
        num_updates[0] += len(items)
        times_s.append(monotonic())

    flow = Dataflow("rival")
    stream = op.input("records", flow, _Numbers(asked.num_records or 0, asked.batch_records))
    op.output("end", op.stateful_map("sum", op.key_on("key", stream, key_of), add), BytewaxSink(take))
    folder = TemporaryDirectory(prefix="rival-")
    kept: dict[str, Any] = {}
    if is_kept:
        init_db_dir(Path(folder.name), 1)
        kept = {"epoch_interval": timedelta(seconds=asked.every_s), "recovery_config": RecoveryConfig(folder.name)}

    def outcome() -> Any:
        folder.cleanup()
        return {int(key): total for key, total in latest.items()}, num_updates[0], times_s

    return partial(run_main, flow, **kept), outcome


class _PacedSource(DynamicSource[Any]):
    """Numbered times, one a call, each when it is due."""

    def __init__(self, num_records: int, every_s: float) -> None:
        self._num_records = num_records
        self._every_s = every_s

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "_Paced":
        return _Paced(self._num_records, self._every_s)


class _Paced(StatelessSourcePartition[Any]):
    def __init__(self, num_records: int, every_s: float) -> None:
        self._num_records = num_records
        self._number = 0
        self._pace = SteadyPace(every_s)

    def next_batch(self) -> list[Any]:
        if self._number == self._num_records:
            raise StopIteration
        self._number += 1
        return [(self._number, self._pace.wait())]


def paced_ages(num_records: int, every_s: float) -> Form:
    ages_s: list[float] = []

    def take(items: list[tuple[int, float]]) -> None:
        now_s = perf_counter()
        for number, given_s in items:
            ages_s.append(now_s - given_s)
            assert number == len(ages_s)

    flow = Dataflow("rival")
    stream = op.input("records", flow, _PacedSource(num_records, every_s))
    stream = op.filter("given", op.map("same", stream, lambda stamp: stamp), lambda stamp: stamp is not None)
    op.output("end", stream, BytewaxSink(take))
    return partial(run_main, flow), lambda: ages_s
