"""State in RocksDB, with real processes: killed, parted anew, and larger than the memory that is taken."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import sage
from tests.cluster.spilled_flow import KIB_ALLOWED, LEN_VALUE, NUM_KEYS, NUM_RECORDS, expected, flow_of
from tests.conftest import ROOT

pytestmark = pytest.mark.cluster
DEADLINE_S = 100.0


def run(folder: Path, dies: int, num_records: int, num_keys: int) -> "subprocess.CompletedProcess[str]":
    nums = [str(num_records), str(num_keys)]
    command = [sys.executable, "-m", "tests.cluster.spilled_flow", str(folder), str(dies), "rocksdb", *nums]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def check(folder: Path, num_records: int, num_keys: int) -> None:
    wanted = expected(num_records, num_keys)
    assert sorted(map(tuple, lines(folder / "out.jsonl"))) == wanted
    assert sorted(map(tuple, lines(folder / "counts.jsonl"))) == [(key, count) for key, _, count in wanted]


def lines(path: Path) -> list[list[int]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_killed_process_goes_on_from_its_tables(tmp_path: Path) -> None:
    for dies in (2_345, 6_001):
        killed = run(tmp_path, dies, NUM_RECORDS, NUM_KEYS)
        assert killed.returncode == -9, killed.stderr
        assert list((tmp_path / "kept" / "spilled").glob("*.store"))
    ended = run(tmp_path, -1, NUM_RECORDS, NUM_KEYS)
    assert ended.returncode == 0, ended.stderr
    check(tmp_path, NUM_RECORDS, NUM_KEYS)
    left = [path.suffix for path in (tmp_path / "kept" / "spilled").iterdir()]
    assert not {".live", ".store", ".manifest"} & set(left)


def test_a_savepoint_of_tables_is_parted_anew(tmp_path: Path) -> None:
    with sage.connect() as cluster:
        job = cluster.submit(
            flow_of(tmp_path, -1, NUM_RECORDS, NUM_KEYS),
            checkpoint=sage.Checkpoint(tmp_path / "kept", every_s=0.05, state="rocksdb"),
        )
        job.savepoint(tmp_path / "saved")
        job.cancel()
    flow = flow_of(tmp_path, -1, NUM_RECORDS, NUM_KEYS, parallelism=3)
    begun = sage.Checkpoint(tmp_path / "other", every_s=0.1, savepoint=tmp_path / "saved", state="rocksdb")
    flow.run(timeout_s=DEADLINE_S, progress=False, checkpoint=begun)
    check(tmp_path, NUM_RECORDS, NUM_KEYS)


def test_state_is_larger_than_the_memory_it_takes(tmp_path: Path) -> None:
    num_keys = 36_000
    assert num_keys * LEN_VALUE > 1.2 * KIB_ALLOWED * 1024
    ended = run(tmp_path, -1, num_keys, num_keys)
    assert ended.returncode == 0, ended.stderr
    records_in, kib = map(int, ended.stdout.split())
    assert records_in == num_keys
    assert kib < KIB_ALLOWED, kib
