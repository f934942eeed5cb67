"""A flow whose process is killed in tests: two sinks, keys parted over instances, calls in flight. Run as a script."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import sage

NUM_RECORDS = 60_000
NUM_KEYS = 10


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
    keyed = numbers.key_by(lambda n: n % NUM_KEYS)
    return flow, keyed.count(final=True).named("count").with_parallelism(parallelism).collect()


def main(folder: str, dies: str) -> None:
    flow, counts = flow_to(Path(folder), int(dies))
    kept = sage.Checkpoint(Path(folder) / "kept", every_s=0.05)
    result = flow.run(timeout_s=60, progress=False, checkpoint=kept)
    print(result.records_in, sorted(counts.items))


if __name__ == "__main__":
    main(*sys.argv[1:])
