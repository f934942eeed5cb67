"""Lets flows live in processes that are forked from a warm one, and kills them, at moments drawn from a seed.

    python -m tests.cluster.kill_farm FOLDER NUM_KILLS SEED

Each flow is killed up to NUM_TRIES times, then it runs to its end. Each life has another number of instances write the
results, each a file of its own. A line of output for each kill, and for each flow:
its folder, its kind, and how often it was killed. Nothing here has threads: a process may be forked.
"""

import os
import select
import signal
import sys
from collections.abc import Iterator
from itertools import count, cycle
from pathlib import Path
from random import Random

import sage
from cluster.local import LocalCluster  # noqa: F401 - loaded before anything is forked
from tests.cluster.killed_flows import KINDS, PacedNumbers

NUM_TRIES = 7
MAX_INSTANCES = 3
_LIVES_AT_MOST_S = 0.4
_DEADLINE_S = 60.0
_EVERY_S = 0.01


def live(kind: str, folder: Path, num_instances: int) -> None:
    """Run a flow, or go on with it."""
    if not list((folder / "kept").rglob("*.manifest")):
        for old in folder.glob("out-*.jsonl"):
            old.unlink()  # of a run that was killed when all was done
    flow = sage.Flow("killed")
    results = KINDS[kind](flow, PacedNumbers())
    results.write_jsonl(folder / "out-{instance}.jsonl").with_parallelism(num_instances)
    flow.run(timeout_s=_DEADLINE_S, progress=False, checkpoint=sage.Checkpoint(folder / "kept", every_s=_EVERY_S))


def lives(kind: str, folder: Path, for_s: float, num_instances: int) -> bool:
    """Let a flow live for so long in a process of its own; say whether it came to its end before it was killed."""
    gone, held = os.pipe()  # the child holds its end until it ends, however that is
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(gone)
            live(kind, folder, num_instances)
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    os.close(held)
    try:
        if not select.select([gone], [], [], for_s)[0]:
            os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(gone)
    if status not in (0, -signal.SIGKILL):
        raise SystemExit(f"{kind} in {folder} ended by {status}")
    return status == 0


def farm(folder: Path, num_kills: int, rng: Random) -> Iterator[str]:
    for number, kind in zip(count(), cycle(KINDS), strict=False):
        own = folder / f"process-{number}"
        own.mkdir()
        num, has_ended = 0, False
        while num < min(NUM_TRIES, num_kills) and not has_ended:
            has_ended = lives(kind, own, rng.uniform(0.0, _LIVES_AT_MOST_S), rng.randint(1, MAX_INSTANCES))
            if not has_ended:
                num += 1
                yield "killed,process"
        if not has_ended and not lives(kind, own, _DEADLINE_S, rng.randint(1, MAX_INSTANCES)):
            raise SystemExit(f"{kind} in {own} did not come to its end")
        num_kills -= num
        yield f"ended,{own.name},{kind},{num}"
        if num_kills <= 0 and number >= len(KINDS) - 1:
            return


if __name__ == "__main__":
    for said in farm(Path(sys.argv[1]), int(sys.argv[2]), Random(int(sys.argv[3]))):
        print(said, flush=True)
