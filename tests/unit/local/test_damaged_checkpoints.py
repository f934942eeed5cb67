"""What a disk may do to each kind of file of a checkpoint: a run goes on from what is whole, or is refused by name."""

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

import sage
from cluster.local import LocalCluster
from sage.base.errors import CheckpointUnusable
from tests.cluster.waiting import eventually

DEADLINE_S = 30.0
NUM, NUM_KEYS = 600, 60


@dataclass(frozen=True)
class Steps:
    """Numbers; the last `NUM - num_first` come only where the run is to come to its end."""

    num_first: int

    def open(self) -> "StepsReader":
        return self.open_at(0)

    def open_at(self, position: Any) -> "StepsReader":
        return StepsReader(self.num_first, position)


class StepsReader:
    def __init__(self, num_first: int, position: int) -> None:
        self._num_first = num_first
        self._position = position

    def read(self, max_records: int) -> list[int] | None:
        if self._position == NUM:
            return None
        start, self._position = self._position, min(self._num_first, self._position + 20)
        return [*range(start, self._position)]

    def position(self) -> int:
        return self._position

    def pause_s(self) -> float:
        return 0.01

    def close(self) -> None:
        pass


def key_of(number: int) -> str:
    return Random(number % NUM_KEYS).randbytes(40).hex()


def flow_to(num_first: int) -> tuple[sage.Flow, Any]:
    flow = sage.Flow("counts")
    return flow, flow.from_source(Steps(num_first)).key_by(key_of).count(final=True).collect()


def stopped(folder: Path, state: Any) -> Path:
    """Return a folder of which the newest checkpoint and those before it hold all but the last records."""
    flow, _ = flow_to(NUM - 1)
    with LocalCluster() as cluster:
        job = cluster.submit(flow.graph(), checkpoint=sage.Checkpoint(folder, every_s=0.05, state=state))
        first_kept = folder / "counts" / "0000000003.manifest"
        eventually(lambda: job.metrics().records_in == NUM - 1 and first_kept.exists(), DEADLINE_S, job.metrics)
        job.cancel()
    return folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {state: stopped(tmp_path_factory.mktemp(state), state) for state in ("memory", "rocksdb")}


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("state", "which", "damage", "passed_over"),
    [
        ("memory", "newest.manifest", flipped, True),
        ("memory", "newest.manifest", cut, True),
        ("memory", "newest.part", flipped, True),
        ("memory", "newest.part", cut, True),
        ("memory", "newest.part", Path.unlink, True),
        ("memory", "first.part", flipped, False),
        ("rocksdb", "newest.part", flipped, True),
        ("rocksdb", "newest.store/*.sst", flipped, False),
        ("rocksdb", "newest.store/*.sst", cut, True),
        ("rocksdb", "newest.store/CURRENT", flipped, False),
        ("rocksdb", "newest.store/CURRENT", Path.unlink, True),
        ("rocksdb", "newest.store/MANIFEST-*", flipped, False),
    ],
)
def test_no_damage_is_served(
    kept: dict[str, Path], tmp_path: Path, state: Any, which: str, damage: Any, passed_over: bool
) -> None:
    shutil.copytree(kept[state], tmp_path / "kept")
    folder = tmp_path / "kept" / "counts"
    damaged = found_in(folder, which)
    damage(damaged)
    flow, counts = flow_to(NUM)
    with LocalCluster() as cluster:
        checkpoint = sage.Checkpoint(tmp_path / "kept", every_s=60.0, state=state)
        if not passed_over:
            with pytest.raises(CheckpointUnusable, match=str(folder)):
                cluster.submit(flow.graph(), checkpoint=checkpoint, resume="must").wait(DEADLINE_S)
            return
        with capture_logs() as logs:
            job = cluster.submit(flow.graph(), checkpoint=checkpoint, resume="must")
        job.wait(DEADLINE_S)
    said = [line["what"] for line in logs if line["event"] == "checkpoint passed over"]
    assert any(damaged.suffix == ".manifest" or damaged.name in what or damaged.parent.name in what for what in said)
    assert Counter(dict(counts.items)) == Counter(map(key_of, range(NUM)))
    assert len(counts.items) == NUM_KEYS


def found_in(folder: Path, which: str) -> Path:
    """Return a file that the newest checkpoint needs; of a table, one that may be changed alone."""
    newest = max(folder.glob("*.manifest"))
    if which == "newest.manifest":
        return newest
    named = newest.read_text()
    needed = sorted((path for path in folder.iterdir() if path.name in named), key=lambda path: path.stat().st_mtime_ns)
    age, _, pattern = which.partition(".")
    kind, _, inside = pattern.partition("/")
    (path,) = [path for path in needed if path.suffix == f".{kind}"][slice(0, 1) if age == "first" else slice(-1, None)]
    return max(path.glob(inside)) if inside else path
