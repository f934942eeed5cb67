"""A process that is killed while models are asked: no call of which the answer was written down is made again."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from cluster.checkpoints.call_entries import EntryKind, entries_in
from tests.cluster.journalled import NUM_RECORDS
from tests.conftest import ROOT

pytestmark = pytest.mark.cluster
DEADLINE_S = 60.0


def run(folder: Path, every_s: float, dies: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.cluster.journalled", str(folder), str(every_s), str(dies)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def asked_in(folder: Path) -> list[str]:
    return (folder / "asked").read_text().split()


@pytest.mark.parametrize("every_s", [60.0, 0.02])
def test_no_call_whose_answer_was_kept_is_made_again_after_a_kill(tmp_path: Path, every_s: float) -> None:
    killed = run(tmp_path, every_s, NUM_RECORDS // 2)
    assert killed.returncode == -9, killed.stderr
    before = asked_in(tmp_path)
    files = (tmp_path / "kept" / "journalled").glob("*.calls")
    entries = [entry for file in files for entry in entries_in(file.read_bytes())]
    answered = {entry.key.hex() for entry in entries if entry.kind is EntryKind.ANSWERED}
    ended = run(tmp_path, every_s, -1)
    assert ended.returncode == 0, ended.stderr
    num_out, num_replayed, num_repeated = map(int, ended.stdout.split())
    after = asked_in(tmp_path)[len(before) :]
    assert num_out == NUM_RECORDS
    assert answered
    assert answered.isdisjoint(after)
    assert max(Counter(before).values()) == max(Counter(after).values()) == 1
    assert len({*before, *after}) == 2 * NUM_RECORDS
    assert len(set(before) & set(after)) <= num_repeated <= 16 + 8
    assert num_replayed == len(answered) if every_s == 60.0 else num_replayed <= len(answered)
    assert not list((tmp_path / "kept" / "journalled").glob("*.calls"))
