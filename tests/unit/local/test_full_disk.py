"""Whole flows for whose checkpoints there is no room: they wait, say so, and go on when there is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

import sage
from cluster.local import LocalCluster
from sage.base.errors import DiskFull
from sage.base.settings import RuntimeSettings, Settings
from sage.flow.runner import JobStatus
from tests.cluster.waiting import eventually
from tests.unit.full_disk import files_of_at_most

DEADLINE_S = 30.0
NUM = 3_000
_ROOM_BYTES = 64_000


@dataclass(frozen=True)
class UntilTold:
    """Numbers, of which the last ones come only once `goes_on` has something."""

    goes_on: list[bool]

    def open(self) -> "Numbers":
        return self.open_at(0)

    def open_at(self, position: Any) -> "Numbers":
        return Numbers(self.goes_on, position)


class Numbers:
    def __init__(self, goes_on: list[bool], position: int) -> None:
        self._goes_on = goes_on
        self._position = position

    def read(self, max_records: int) -> Sequence[int] | None:
        if self._position == NUM:
            return None
        end = min(NUM if self._goes_on else NUM - 1, self._position + 50)
        found = range(self._position, end)
        self._position = end
        return found

    def position(self) -> int:
        return self._position

    def pause_s(self) -> float:
        return 0.01

    def close(self) -> None:
        pass


@pytest.fixture
def goes_on() -> Iterator[list[bool]]:
    found: list[bool] = []
    yield found
    found.append(True)


def wide_sums(goes_on: list[bool]) -> tuple[sage.Flow, Any]:
    """Return a flow whose state has some 300 KB once all keys have come."""
    flow = sage.Flow("wide")
    keyed = flow.from_source(UntilTold(goes_on)).key_by(lambda n: Random(n % 1_000).randbytes(150).hex())
    return flow, keyed.count(final=True).collect()


@pytest.mark.parametrize("state", ["memory", "rocksdb"])
def test_a_job_waits_for_room_for_its_checkpoints_and_goes_on(tmp_path: Path, goes_on: list[bool], state: Any) -> None:
    flow, sums = wide_sums(goes_on)
    with LocalCluster() as cluster:
        with files_of_at_most(_ROOM_BYTES):
            job = cluster.submit(flow.graph(), checkpoint=sage.Checkpoint(tmp_path, every_s=0.02, state=state))
            eventually(lambda: job.metrics().pause != "", DEADLINE_S, job.metrics)
            shown = job.metrics().status_shown
            eventually(lambda: job.status is JobStatus.PAUSED, DEADLINE_S, job.metrics)
        assert f"paused: disk full at {tmp_path}" in shown
        goes_on.append(True)
        job.wait(DEADLINE_S)
        assert job.metrics().pause == ""
    assert sorted(count for _, count in sums.items) == [3] * 1_000


def lines_to(path: Path) -> sage.Flow:
    """Return a flow that writes more than there is room for."""
    flow = sage.Flow("lines")
    flow.from_source(UntilTold([True])).map(wide_line).write_text(path)
    return flow


def wide_line(number: int) -> str:
    return f"{number:0100d}"


def test_a_file_that_grows_waits_for_room_and_has_every_line_once_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    with LocalCluster() as cluster:
        with files_of_at_most(_ROOM_BYTES):
            job = cluster.submit(lines_to(path).graph(), checkpoint=sage.Checkpoint(tmp_path / "kept", every_s=0.02))
            eventually(lambda: f"paused: disk full at {path}" in job.metrics().status_shown, DEADLINE_S, job.metrics)
        job.wait(DEADLINE_S)
    assert path.read_text().splitlines() == [wide_line(number) for number in range(NUM)]
    assert [left.name for left in tmp_path.iterdir() if left.name.startswith(".")] == []


def test_without_checkpoints_a_file_that_has_no_room_fails_the_job_and_says_how_it_would_wait(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    with LocalCluster() as cluster, files_of_at_most(_ROOM_BYTES):
        job = cluster.submit(lines_to(path).graph())
        with pytest.raises(DiskFull, match=f"disk full at {path}: File too large") as failed:
            job.wait(DEADLINE_S)
    assert "With checkpoint=sage.Checkpoint" in failed.value.do
    assert [*tmp_path.iterdir()] == []


def test_a_job_fails_once_it_has_waited_for_room_for_too_long(tmp_path: Path, goes_on: list[bool]) -> None:
    flow, _ = wide_sums(goes_on)
    settings = Settings(runtime=RuntimeSettings(full_disk_s=0.1))
    with LocalCluster(settings=settings) as cluster, files_of_at_most(_ROOM_BYTES):
        job = cluster.submit(flow.graph(), checkpoint=sage.Checkpoint(tmp_path, every_s=0.02))
        with pytest.raises(DiskFull, match=f"disk full at {tmp_path}.* no room came within 0.1 s") as failed:
            job.wait(DEADLINE_S)
    assert "Make room there and start the flow again" in failed.value.do
