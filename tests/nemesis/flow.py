"""The flow that the nemesis hurts: a source that says when a run begins, keyed counts, and sinks outside the cluster.

Each record carries the run that read it. Every count is appended to the ledger as it comes, from three nodes; the final
counts stand in a file that appears when the job has ended well.
"""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

import sage
from cluster.node.config import WITHIN
from sage.base.clock import SystemClock

Record = tuple[str, object, int]
"""The run that read it, a key, a number."""

KEYS: tuple[object, ...] = (0, "", "ключ", ("a", 1), b"\0", 7, "0", -1, (), "long" * 20, 1.5)
LEN_TICK = 20
NUM_PARALLEL = 3
_WORK_S = 0.004
T = TypeVar("T")


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A line of the ledger. `what`: `began`, by a source that was opened, or `wrote`, by a sink, of `key` the `count`.

    `at_s`: monotonic, the same for all processes of a machine.
    """

    what: str
    run: str
    node: str
    pid: int
    at_s: float
    key: str = ""
    count: int = 0


def append(ledger: str, what: str, run: str, key: str = "", count: int = 0) -> None:
    """Append an entry, whole: the order of lines is the order in which they came."""
    entry = Entry(what, run, os.environ.get(WITHIN, ""), os.getpid(), SystemClock().monotonic_s(), key, count)
    file = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, msgspec.json.encode(entry) + b"\n")
    finally:
        os.close(file)


@dataclass(frozen=True, slots=True)
class PacedSource:
    """Reads `num_ticks` times LEN_TICK records, one tick each `every_s`."""

    ledger: str
    num_ticks: int
    every_s: float

    def open(self) -> "PacedReader":
        return PacedReader(self)


class PacedReader:
    def __init__(self, source: PacedSource) -> None:
        self._source = source
        self._run = os.urandom(6).hex()
        self._next = 0
        self._pause = threading.Event()
        append(source.ledger, "began", self._run)

    def read(self, max_records: int) -> Sequence[Record] | None:
        if self._next >= self._source.num_ticks * LEN_TICK:
            return None
        in_tick = self._next % LEN_TICK
        if in_tick == 0:
            self._pause.wait(self._source.every_s)
        numbers = range(self._next, self._next + min(LEN_TICK - in_tick, max_records))
        self._next = numbers.stop
        return [(self._run, KEYS[number % len(KEYS)], number) for number in numbers]

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True)
class LedgerWriter:
    """What a sink of the user's does: appends, and everybody sees it at once."""

    ledger: str

    def __call__(self, counted: tuple[tuple[str, object], int]) -> None:
        (run, key), count = counted
        append(self.ledger, "wrote", run, repr(key), count)


def run_and_key(record: Record) -> tuple[str, object]:
    return record[0], record[1]


def same(record: Record) -> Record:
    return record


def ledger_flow(ledger: str, results: str, *, num_ticks: int, every_s: float) -> sage.Flow:
    """Return the flow; `results` is the file of final counts."""
    flow = sage.Flow("nemesis")
    records = flow.from_source(PacedSource(ledger, num_ticks, every_s)).map(same).with_parallelism(NUM_PARALLEL)
    keyed = records.key_by(run_and_key).with_parallelism(NUM_PARALLEL)
    counts = keyed.count().with_parallelism(NUM_PARALLEL).map(at_work).with_parallelism(NUM_PARALLEL)
    counts.for_each(LedgerWriter(ledger)).with_parallelism(NUM_PARALLEL)
    keyed.count(final=True).with_parallelism(NUM_PARALLEL).map(shown).write_jsonl(results)
    return flow


def at_work(counted: T) -> T:
    """Take some time, right before the sink: whenever a node is paused, it has work in hand that it must not finish."""
    threading.Event().wait(_WORK_S)
    return counted


def shown(counted: tuple[tuple[str, object], int]) -> tuple[str, str, int]:
    (run, key), count = counted
    return run, repr(key), count


def expected_counts(num_ticks: int) -> dict[str, int]:
    """Return the final count of each key."""
    counts: dict[str, int] = {}
    for number in range(num_ticks * LEN_TICK):
        key = repr(KEYS[number % len(KEYS)])
        counts[key] = counts.get(key, 0) + 1
    return counts
