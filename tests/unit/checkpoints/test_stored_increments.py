"""Checkpoints of windows and joins in RocksDB: after small changes little is written."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from cluster.checkpoints.rocks import RocksTables
from operators.machine import Machine
from operators.registry import machine_for
from sage.base.batch import Batch
from sage.flow.spec import AsOf, Gather, JoinWindows, Spec, Window, Within
from sage.flow.windows import CountWindow, Session, Sliding, Tumbling
from tests.unit.checkpoints.tables import TYPES
from tests.unit.operators.arrange import chain, context

KINDS: dict[str, Spec] = {
    "tumbling": Window(Tumbling(1e9), Gather()),
    "sliding": Window(Sliding(1e9, 5e8), Gather()),
    "session": Window(Session(1e9), Gather()),
    "count": Window(CountWindow(3), Gather()),
    "window join": JoinWindows(Tumbling(1e9)),
    "interval join": Within(1e8, 1e8),
    "table join": AsOf(is_outer=True),
}
NUM_KEYS, NUM_CHANGED, LEN_TEXT = 2_000, 5, 500


def take(machine: Machine, spec: Spec, keys: Sequence[int]) -> None:
    """Put in a text for each key, of letters by chance: what is written is as long as they are."""
    rng = Random(keys[0])
    texts = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=LEN_TEXT)) for _ in keys]
    values = [(1, text) for text in texts] if isinstance(spec, JoinWindows | Within | AsOf) else texts
    machine.on_batch(Batch(values, keys, [1.0] * len(keys), 0.0))


def files_of(machine: Machine, folder: Path) -> dict[int, int]:
    """Take a checkpoint and return the sizes of its files, in bytes, by what they are on the disk."""
    [state] = machine.snapshot().values()
    assert state.settle is not None
    state.settle()
    [(name, _)] = state.stored
    return {file.stat().st_ino: file.stat().st_size for file in (folder / name).iterdir()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_writes_what_has_changed_since_the_one_before(kind: str, tmp_path: Path) -> None:
    spec = KINDS[kind]
    tables = RocksTables(str(tmp_path), "run", TYPES, instance=0, num_instances=1)
    machine = machine_for(chain(spec), replace(context(), tables=tables))
    machine.open()
    for first in range(0, NUM_KEYS, 100):
        take(machine, spec, range(first, first + 100))
    before = files_of(machine, tmp_path)
    assert sum(before.values()) > NUM_KEYS * LEN_TEXT // 2
    take(machine, spec, range(NUM_CHANGED))
    after = files_of(machine, tmp_path)
    num_written = sum(num_bytes for file, num_bytes in after.items() if file not in before)
    assert num_written < sum(before.values()) // 10
    assert sum(after.values()) > sum(before.values())
    machine.close(complete=True)
