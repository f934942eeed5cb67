"""Flows of every kind of state are killed at any moment, again and again: nothing is lost, nothing written twice.

Killed are whole processes that run a flow, the worker processes of `local:N`, and nodes and heads of started clusters.
`SAGE_KILLS=1000` kills so often, a hundred times otherwise.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import sage
from tests.cluster.checkpointed import SqliteLedger
from tests.cluster.killed_flows import KINDS, UNLUCKY, PacedNumbers
from tests.conftest import ROOT

pytestmark = pytest.mark.cluster
_NUM_KILLS = int(os.environ.get("SAGE_KILLS", "100"))
_NUM_ON_NODES = max(7, _NUM_KILLS * 14 // 100)
"""Kills of each of the two kinds of clusters."""
_DEADLINE_S = 60.0 + 3.0 * _NUM_KILLS


def expected(kind: str) -> list[Any]:
    """Return what a flow gives that nobody kills, and that takes no checkpoints, in any order."""
    flow = sage.Flow("unhurt")
    given = KINDS[kind](flow, PacedNumbers(pause_s=0.0)).collect()
    flow.run(timeout_s=60.0, progress=False)
    assert given.items
    return sorted(json.loads(json.dumps(given.items)))


def farm(module: str, folder: Path, num_kills: int, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", f"tests.cluster.{module}", str(folder), str(num_kills), "11", *more]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said_by(running: "subprocess.Popen[str]") -> list[list[str]]:
    with running:
        said, errors = running.communicate(timeout=_DEADLINE_S)
    assert running.returncode == 0, errors[-4000:]
    return [line.split(",") for line in said.splitlines()]


def check_files(folder: Path, unhurt: list[Any], what: str) -> None:
    lines = [json.loads(line) for path in folder.glob("out-*.jsonl") for line in path.read_text().splitlines()]
    assert sorted(lines) == unhurt, what
    names = [f".{path.name}.*.begun" for path in folder.glob("out-*.jsonl")]
    assert not [left for name in names for left in folder.glob(name)], "what killed runs began is swept"


@pytest.mark.timeout(_DEADLINE_S)
def test_nothing_is_lost_or_doubled_whatever_is_killed_and_whenever(tmp_path: Path) -> None:
    farms = [
        farm("kill_farm", tmp_path, _NUM_KILLS - 2 * _NUM_ON_NODES),
        farm("node_farm", tmp_path, _NUM_ON_NODES, "local"),
        farm("node_farm", tmp_path, _NUM_ON_NODES, "cluster"),
    ]
    unhurt = {kind: expected(kind) for kind in KINDS}
    ended = [said_by(running) for running in farms]
    killed = Counter(what for said in ended for word, what, *_ in said if word == "killed")
    assert killed.total() >= _NUM_KILLS
    assert killed.keys() == {"process", "worker", "node", "head"}
    for said in ended:
        flows = [about for word, *about in said if word == "ended"]
        assert {kind for _, kind, _ in flows} == set(KINDS)
        for name, kind, num_killed in flows:
            check_files(tmp_path / name, unhurt[kind], f"{kind} in {name}, killed {num_killed} times")
    for name, kind, num_restarts in (about for word, *about in ended[1] + ended[2] if word == "ended"):
        table = SqliteLedger(str(tmp_path / name / "out.db")).numbers()
        assert sorted(map(json.loads, map(str, table))) == unhurt[kind], f"{kind} in the table of {name}"
        ids, values = zip(*json.loads((tmp_path / name / "letters.json").read_text()), strict=True)
        assert sorted(map(int, values)) == list(UNLUCKY), f"dead letters of {name}"
        assert len({*ids}) == len(UNLUCKY)
        assert int(num_restarts) > 0, f"{name} bore no kill"
