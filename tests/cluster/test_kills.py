"""Flows of every kind of state are killed at any moment, again and again: nothing is lost, nothing written twice.

`SAGE_KILLS=1000` kills so often, a hundred times otherwise.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sage
from tests.cluster.killed_flows import KINDS
from tests.conftest import ROOT

pytestmark = pytest.mark.cluster
_NUM_KILLS = int(os.environ.get("SAGE_KILLS", "100"))


def expected(kind: str) -> list[Any]:
    """Return what a flow gives that nobody kills, and that takes no checkpoints, in any order."""
    flow = sage.Flow("unhurt")
    given = KINDS[kind](flow).collect()
    flow.run(timeout_s=60.0, progress=False)
    assert given.items
    return sorted(json.loads(json.dumps(given.items)))


@pytest.mark.timeout(60 + 3 * _NUM_KILLS)
def test_nothing_is_lost_or_doubled_whenever_the_process_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.cluster.kill_farm", str(tmp_path), str(_NUM_KILLS), "11"]
    farm = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert farm.returncode == 0, farm.stderr[-4000:]
    rows = [line.split(",") for line in farm.stdout.splitlines()]
    assert sum(int(num) for _, _, num in rows) >= _NUM_KILLS
    assert {kind for _, kind, _ in rows} == set(KINDS)
    unhurt = {kind: expected(kind) for kind in KINDS}
    for name, kind, _ in rows:
        lines = [json.loads(line) for line in (tmp_path / name / "out.jsonl").read_text().splitlines()]
        assert sorted(lines) == unhurt[kind], f"{kind} in {name}"
        assert not list((tmp_path / name).glob(".out.jsonl.*.begun")), "what killed runs began is swept"
