"""A flow that would read what it writes is refused before it runs, by whatever name it calls the file."""

from pathlib import Path

import pytest

from sage.base.errors import FlowInvalid
from sage.flow.flow import Flow


def graph_of(source: str | Path, target: str | Path) -> None:
    flow = Flow("f")
    flow.read_text(source).write_jsonl(target)
    flow.graph()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").touch()
    (tmp_path / "link").symlink_to("in")
    (tmp_path / "other.txt").symlink_to("in/a.jsonl")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("in/a.jsonl", "in/a.jsonl"),
        ("in/a.jsonl", "in/../in/a.jsonl"),
        ("link/a.jsonl", "in/a.jsonl"),
        ("other.txt", "in/a.jsonl"),
        ("in/a.jsonl", "other.txt"),
        ("in/*.jsonl", "in/a.jsonl"),
        ("in/*.jsonl", "in/new.jsonl"),
        ("in/*.jsonl", "link/new.jsonl"),
        ("link/*.jsonl", "in/new.jsonl"),
        ("*.txt", "in/a.jsonl"),
        ("**/*.jsonl", "in/deep/new.jsonl"),
        ("**/*.jsonl", "new.jsonl"),
        ("i[mn]/?.jsonl", "in/b.jsonl"),
        ("s3://bucket/in/*.jsonl", "s3://bucket/in/a.jsonl"),
    ],
)
def test_a_file_that_is_read_and_written_is_refused(folder: Path, source: str, target: str) -> None:
    with pytest.raises(FlowInvalid, match=r"is written by this step, and read.* at .*test_check_files") as caught:
        graph_of(source, target)
    assert target in caught.value.what
    assert "Write another file" in caught.value.do


def test_whole_paths_are_compared_with_relative_ones(folder: Path) -> None:
    with pytest.raises(FlowInvalid, match="is written by this step"):
        graph_of(folder / "in" / "a.jsonl", "in/a.jsonl")


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("in/a.jsonl", "a.jsonl"),
        ("in/*.jsonl", "in/a.csv"),
        ("in/*/../a.jsonl", "out.jsonl"),
        ("in/*.jsonl", "in/deep/new.jsonl"),
        ("in/*.jsonl", "in/.hidden.jsonl"),
        ("missing.txt", "in/a.jsonl"),
        ("s3://bucket/in.jsonl", "in.jsonl"),
        ("s3://bucket/*.jsonl", "s3://other/a.jsonl"),
    ],
)
def test_other_files_are_not(folder: Path, source: str, target: str) -> None:
    graph_of(source, target)


def test_a_pattern_that_is_the_name_of_a_file_is_that_file(folder: Path) -> None:
    (folder / "in" / "[ab].jsonl").touch()
    graph_of("in/[ab].jsonl", "in/a.jsonl")
    with pytest.raises(FlowInvalid, match="is written by this step"):
        graph_of("in/[ab].jsonl", "in/[ab].jsonl")


def test_the_file_of_each_instance_is_looked_at() -> None:
    flow = Flow("f")
    flow.read_text("out-2.txt").write_text("out-{instance}.txt").with_parallelism(3)
    with pytest.raises(FlowInvalid, match=r"out-2\.txt is written by this step, and read at"):
        flow.graph()
    flow = Flow("f")
    lines = flow.read_text("in.txt")
    lines.write_text("out-{instance}.txt").with_parallelism(2)
    lines.write_text("out-1.txt")
    with pytest.raises(FlowInvalid, match=r"two steps write out-1\.txt"):
        flow.graph()
