"""The `sage-benchmark` command."""

import json
from pathlib import Path

import pytest

from benchmarks.cli import app
from benchmarks.document import Document, Hardware, write
from sage.cli import run_command


@pytest.fixture
def result_file(tmp_path: Path) -> Path:
    path = tmp_path / "result.json"
    machine = Hardware("a cpu", 2, 2**33, "Linux", "CPython 3.11.7", 0.0)
    write(Document("stream", "abc", machine, 7, 1.5e9, ({"workload": "W1", "n": 5},)), str(path))
    return path


def test_a_report_shows_the_figures_of_a_file(result_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(app, "sage-benchmark", ["report", str(result_file)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["W1", "5"]


def test_a_report_as_json_is_the_documents(result_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(app, "sage-benchmark", ["report", "--json", str(result_file)]) == 0
    assert json.loads(capsys.readouterr().out)[0]["results"] == [{"workload": "W1", "n": 5}]


def test_a_file_that_is_no_result_fails_with_status_1_and_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(app, "sage-benchmark", ["report", str(tmp_path / "gone.json")]) == 1
    assert "gone.json" in capsys.readouterr().err


def test_no_verb_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(app, "sage-benchmark", []) == 2
    assert "report" in "".join(capsys.readouterr())
