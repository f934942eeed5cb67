"""A flow whose state is in RocksDB, and whose process is killed in tests. Run as a script."""

import os
import resource
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sage
from sage.flow.checkpoint import StateKept
from tests.cluster.killed_flows import PacedNumbers

NUM_RECORDS = 9_000
NUM_KEYS = 2_500
LEN_VALUE = 4_000
KIB_ALLOWED = 100_000
"""What a run with more state than that may take beside what Python and the library take."""


class Summed(sage.KeyedProcess[int, int, tuple[int, int, int]]):
    """Sums up numbers, and keeps a long text with each sum."""

    total = sage.ReducingState[int](int.__add__)
    text = sage.ValueState("")
    count = sage.ValueState(0, ttl_s=1e9)

    def on_record(self, record: int, context: sage.ProcessContext[int]) -> Iterable[tuple[int, int, int]]:
        self.total, self.count = record, self.count + 1
        self.text = f"{context.key:0{LEN_VALUE}d}"
        context.set_timer(1e9)
        return ()

    def on_timer(self, time_s: float, context: sage.ProcessContext[int]) -> Iterable[tuple[int, int, int]]:
        assert int(self.text) == context.key
        assert self.total is not None
        yield context.key, self.total, self.count


def expected(num_records: int, num_keys: int) -> list[tuple[int, int, int]]:
    """Return what the flow gives, sorted."""
    parts = (range(key, num_records, num_keys) for key in range(num_keys))
    return [(key, sum(part), len(part)) for key, part in enumerate(parts)]


def flow_of(folder: Path, dies: int, num_records: int, num_keys: int, parallelism: int = 2) -> sage.Flow:
    """Return the flow; its process is killed at record `dies`, or at the first one then that follows a checkpoint."""

    def told(number: int) -> int:
        if 0 <= dies <= number and list((folder / "kept" / "spilled").glob("*.manifest")):
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    flow = sage.Flow("spilled")
    source: Any = PacedNumbers(num_records, pause_s=1e-4 if num_records == NUM_RECORDS else 0.0)
    numbers = flow.from_source(source, timestamp=float).map(told).named("told")
    keyed = numbers.key_by(lambda number: number % num_keys)
    keyed.process(Summed).named("summed").with_parallelism(parallelism).write_jsonl(folder / "out.jsonl")
    keyed.count(final=True).named("count").write_jsonl(folder / "counts.jsonl")
    return flow


def main(folder: str, dies: str, state: StateKept, num_records: str, num_keys: str) -> None:
    flow = flow_of(Path(folder), int(dies), int(num_records), int(num_keys))
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kept = sage.Checkpoint(Path(folder) / "kept", every_s=0.1, state=state)
    result = flow.run(timeout_s=100, progress=False, checkpoint=kept)
    print(result.records_in, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib)


if __name__ == "__main__":
    folder, dies, state, *nums = sys.argv[1:]
    main(folder, dies, "rocksdb" if state == "rocksdb" else "memory", *nums)
