"""The example of docs/checkpoints.md runs as it stands."""

from pathlib import Path

import pytest

from tests.unit.docs.examples import run_examples


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_examples("checkpoints.md") > 0
