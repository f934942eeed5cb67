"""The layers of the house, as import-linter checks them, and that its contracts bite."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.sources import PACKAGES, ROOT


def _lint(root: Path) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=110)


def test_every_import_goes_down() -> None:
    done = _lint(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree in which imports can be planted."""
    copy = tmp_path_factory.mktemp("house")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", copy)
    return copy


@pytest.mark.parametrize(
    ("place", "line", "contract"),
    [
        ("sage/base/ids.py", "import sage.flow.graph", "Six layers"),
        ("operators/machine.py", "import threading", "Layers 1-3"),
        ("sage/flow/graph.py", "import asyncio", "Layers 1-3"),
        ("cluster/serving/events.py", "import cluster.jobs", "Six layers"),
        ("cluster/serving/plane.py", "import time", "What decides is pure"),
        ("cluster/runtime/pace.py", "import random", "What decides is pure"),
        ("cluster/serving/shell.py", "import cluster.serving.engines.simulated", "Engines are reached"),
        ("cluster/stray.py", '"""A stray."""', "Nothing in cluster stands outside"),
    ],
)
def test_a_planted_import_breaks_its_contract(copy: Path, place: str, line: str, contract: str) -> None:
    before = (copy / place).read_text(encoding="utf-8") if (copy / place).exists() else None
    (copy / place).write_text(f"{before or ''}\n{line}\n", encoding="utf-8")
    try:
        done = _lint(copy)
    finally:
        if before is None:
            (copy / place).unlink()
        else:
            (copy / place).write_text(before, encoding="utf-8")
    assert done.returncode == 1
    assert [text for text in done.stdout.splitlines() if contract in text and "BROKEN" in text], done.stdout
