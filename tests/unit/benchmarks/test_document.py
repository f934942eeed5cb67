"""The document of a benchmark run: written, read again, shown."""

import subprocess
from pathlib import Path

import pytest

from benchmarks.document import Document, Hardware, commit_of, encode, read, this_commit, this_machine, write
from benchmarks.report import report
from sage.base.errors import SinkUnwritable, SourceUnreadable

MACHINE = Hardware("a cpu", 2, 8 * 2**30, "Linux", "CPython 3.11.7", 0.1)
RESULTS: tuple[dict[str, object], ...] = (
    {"engine": "python", "workload": "W1", "n": 1_000_000, "records_per_s": 9.3e6, "checked": True, "batch": None},
    {"engine": "sage", "workload": "W1", "n": 1_000_000, "records_per_s": 6.5e6, "checked": True, "batch": 256},
)
DOCUMENT = Document("stream --workload W1", "0123456789abcdef", MACHINE, 7, 1.5e9, RESULTS)


def test_a_document_is_read_as_it_was_written(tmp_path: Path) -> None:
    write(DOCUMENT, str(tmp_path / "result.json"))
    assert read(tmp_path / "result.json") == DOCUMENT


def test_a_dash_writes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    write(DOCUMENT, "-")
    assert capsys.readouterr().out == encode(DOCUMENT)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(SinkUnwritable, match="absent"):
        write(DOCUMENT, str(tmp_path / "absent" / "result.json"))


@pytest.mark.parametrize("content", ["", "{}", '{"command": 1}', "[1]"])
def test_a_file_that_is_no_document_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(SourceUnreadable, match=r"other\.json holds no benchmark document"):
        read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match=r"gone\.json"):
        read(tmp_path / "gone.json")


def test_the_machine_and_the_commit_are_described() -> None:
    machine = this_machine()
    assert machine.num_cpus >= 1
    assert machine.memory_bytes > 2**20
    assert machine.python.startswith("CPython 3.")
    assert this_commit()


def test_a_report_has_a_line_a_result_and_only_columns_that_hold_something() -> None:
    heading, _machine, _empty, head, python, sage = report(DOCUMENT).splitlines()
    assert heading == "stream --workload W1  (commit 0123456789ab, seed 7)"
    assert head.split() == ["workload", "engine", "n", "records_per_s", "checked", "batch"]
    assert python.split() == ["W1", "python", "1,000,000", "9,300,000", "yes"]
    assert sage.split() == ["W1", "sage", "1,000,000", "6,500,000", "yes", "256"]


def test_a_result_file_that_was_written_anew_does_not_mark_the_commit(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True, capture_output=True)

    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    result, code = tmp_path / "benchmarks" / "results" / "x.json", tmp_path / "benchmarks" / "x.py"
    for file in (result, code):
        file.write_text("1")
    git("init")
    git("add", ".")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "x")
    assert not commit_of(tmp_path / "benchmarks").endswith("+")
    result.write_text("2")
    assert not commit_of(tmp_path / "benchmarks").endswith("+")
    code.write_text("2")
    assert commit_of(tmp_path / "benchmarks").endswith("+")
