"""The nemesis in short, over real processes: `python -m tests.nemesis` is the long form."""

import subprocess
import sys

import pytest

from tests.cluster.private_world import what_is_lacking
from tests.conftest import ROOT

pytestmark = [pytest.mark.alone, pytest.mark.cluster, pytest.mark.timeout(150)]
_DEADLINE_S = 120.0


def test_killed_and_paused_nodes_clients_and_heads_break_no_promise() -> None:
    strike("--kills", "3", "--pauses", "2", "--pause-s", "3.5", "--clients", "1", "--heads", "1")


@pytest.mark.skipif(bool(what_is_lacking()), reason=what_is_lacking())
def test_partitions_break_no_promise() -> None:
    strike("--partitions", "2")


def strike(*arguments: str) -> None:
    command = [sys.executable, "-m", "tests.nemesis", *arguments, "--side-by-side", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=_DEADLINE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("every promise was kept\n")
