"""The flow of `sage-benchmark checkpoint`: running sums of many keys, timed where they leave. Knows no figure.

As a script it is what is killed: it runs the flow, goes on from a checkpoint where there is one, and prints, as JSON,
when what left it, and whether the sums were right.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic

import sage

NUM_KEYS = 100_000
_WAIT_S = 300.0


@dataclass(frozen=True, slots=True)
class LastOf:
    """The key of a number: one of `num_keys`."""

    num_keys: int

    def __call__(self, number: int) -> int:
        return number % self.num_keys


@dataclass(slots=True)
class Leaving:
    """Keeps the newest sum of each key, a batch a call, and when each batch came, by the clock of this machine."""

    sums: dict[int, int] = field(default_factory=dict)
    num_updates: int = 0
    times_s: list[float] = field(default_factory=list)
    nums: list[int] = field(default_factory=list)

    def __call__(self, batch: Sequence[tuple[int, int]]) -> list[int]:
        self.sums.update(batch)
        self.num_updates += len(batch)
        self.times_s.append(monotonic())
        self.nums.append(len(batch))
        return []


def running_sums(num_records: int, num_keys: int) -> tuple[sage.Flow, Leaving]:
    """Return a flow that sums integers by key, every update out, and what it comes to."""
    leaving = Leaving()
    flow = sage.Flow("running-sums")
    sums = flow.from_collection(range(num_records)).key_by(LastOf(num_keys)).sum()
    sums.map_batches(leaving).collect()
    return flow, leaving


def expected_sums(num_records: int, num_keys: int) -> dict[int, int]:
    """Return the sum of each key, by Gauss: of the numbers `key + i * num_keys` below `num_records`."""
    found = {}
    for key in range(min(num_keys, num_records)):
        num = (num_records - key + num_keys - 1) // num_keys
        found[key] = num * key + num_keys * (num * (num - 1) // 2)
    return found


def main(folder: str, num_records: str, num_keys: str, every_s: str) -> None:
    """Run the flow to its end."""
    flow, leaving = running_sums(int(num_records), int(num_keys))
    kept = sage.Checkpoint(folder, every_s=float(every_s))
    flow.run(timeout_s=_WAIT_S, progress=False, checkpoint=kept)
    is_right = leaving.sums == expected_sums(int(num_records), int(num_keys))
    json.dump({"times_s": leaving.times_s, "nums": leaving.nums, "is_right": is_right}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
