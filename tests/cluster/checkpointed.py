"""A flow whose process is killed in tests: two sinks, keys parted over instances, calls in flight. Run as a script."""

import os
import signal
import sqlite3
import sys
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sage
from tests.unit.two_phases import LedgerSink, Part

NUM_RECORDS = 60_000
NUM_KEYS = 10


@dataclass(frozen=True)
class SqliteLedger:
    """A table of records, and one of how far each writing is committed."""

    path: str

    def begin(self) -> str:
        return uuid.uuid4().hex

    def commit(self, writing: str, parts: Sequence[Part]) -> None:
        with closing(sqlite3.connect(self.path, timeout=30.0)) as db, db:
            db.execute("CREATE TABLE IF NOT EXISTS records (number INTEGER)")
            db.execute("CREATE TABLE IF NOT EXISTS parts (writing TEXT, number INTEGER, PRIMARY KEY (writing, number))")
            for number, records in parts:
                known = db.execute("INSERT OR IGNORE INTO parts VALUES (?, ?)", (writing, number)).rowcount == 0
                if not known:
                    db.executemany("INSERT INTO records VALUES (?)", ((record,) for record in records))

    def numbers(self) -> list[int]:
        """Return what others see, in order."""
        with closing(sqlite3.connect(self.path)) as db:
            return [number for (number,) in db.execute("SELECT number FROM records ORDER BY number")]


def ledger_in(folder: Path) -> SqliteLedger:
    return SqliteLedger(str(folder / "out.db"))


async def doubled(number: int) -> int:
    return 2 * number


def paced(number: int) -> int:
    """Take a few microseconds, so that a run takes some checkpoints."""
    return number + sum(range(100)) - 4950


def dies_at(number: int, at: int) -> int:
    """Kill the whole process where `number` comes; only its first run of a test is told to."""
    if number == at:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def flow_to(folder: Path, dies: int = -1, parallelism: int = 2) -> tuple[sage.Flow, Any]:
    """Return the flow, and the handle of what it counts."""
    flow = sage.Flow("checkpointed")
    numbers = flow.from_collection(range(NUM_RECORDS)).map(paced).map(lambda n: dies_at(n, dies)).named("numbers")
    numbers.map_async(doubled, max_in_flight=16).write_jsonl(folder / "out.jsonl")
    numbers.to(LedgerSink(ledger_in(folder)))
    keyed = numbers.key_by(lambda n: n % NUM_KEYS)
    return flow, keyed.count(final=True).named("count").with_parallelism(parallelism).collect()


def flow_of_files(folder: Path, num_instances: int) -> tuple[sage.Flow, Any]:
    """Return a flow that adds up, by key, the numbers in files that several instances read."""
    flow = sage.Flow("of-files")
    rows = flow.read_csv(folder / "in" / "*.csv", as_type=Numbered).named("rows").with_parallelism(num_instances)
    numbers = rows.map(number_of).with_parallelism(num_instances).map(paced).with_parallelism(num_instances)
    keyed = numbers.named("numbers").key_by(lambda n: n % NUM_KEYS).with_parallelism(num_instances)
    return flow, keyed.count(final=True).named("count").with_parallelism(2).collect()


@dataclass(frozen=True)
class Numbered:
    number: int


def number_of(row: Numbered) -> int:
    return row.number


def main(folder: str, dies: str) -> None:
    flow, counts = flow_to(Path(folder), int(dies))
    kept = sage.Checkpoint(Path(folder) / "kept", every_s=0.05)
    result = flow.run(timeout_s=60, progress=False, checkpoint=kept)
    print(result.records_in, sorted(counts.items))


if __name__ == "__main__":
    main(*sys.argv[1:])
