"""Lists, the terminal and files of JSON lines as sinks."""

import contextlib
import dataclasses
import datetime as dt
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import sage
from sage.base.errors import FlowInvalid, SinkUnwritable
from sage.flow.flow import Flow
from sage.flow.sinks import JsonLinesSink, ListSink, PrintSink
from sage.flow.spec import Write


class Point(msgspec.Struct):
    x: int


@dataclasses.dataclass
class Name:
    first: str


def write(path: Path, *batches: list[Any], complete: bool = True) -> None:
    writer = JsonLinesSink(str(path)).open()
    for batch in batches:
        writer.write(batch)
    writer.close(complete=complete)


def test_what_was_collected_is_there_after_the_run_and_a_new_run_starts_anew() -> None:
    flow = Flow("f")
    collected = flow.from_collection([1, 2]).collect()
    with pytest.raises(
        FlowInvalid, match=r'no run of the flow "f" has brought .* yet\n  Call flow.run\(\) .* job.wait\(\)'
    ):
        _ = collected.items
    spec = flow.graph().steps[-1].spec
    assert isinstance(spec, Write)
    for _ in range(2):
        writer = spec.sink.open()
        writer.write([1, 2])
        writer.close(complete=True)
        assert collected.items == [1, 2]


def test_what_came_before_a_failure_can_be_looked_at() -> None:
    sink: ListSink[int] = ListSink()
    writer = sink.open()
    writer.write([1])
    writer.close(complete=False)
    assert sink.items == [1]


def test_printing_writes_a_record_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    writer = PrintSink().open()
    writer.write(["a", ("b", 1)])
    writer.close(complete=True)
    assert capsys.readouterr().out == "a\n('b', 1)\n"


def test_a_reader_of_the_output_that_left_is_named_not_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    nobody_reads = os.fdopen(writing, "w")
    monkeypatch.setattr("sys.stdout", nobody_reads)
    with pytest.raises(SinkUnwritable, match="has closed it"):
        PrintSink().open().write(["a"] * 100_000)
    with contextlib.suppress(BrokenPipeError):  # it flushes what it still holds
        nobody_reads.close()


def test_json_lines_hold_what_users_have(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    day = dt.date(2026, 1, 2)
    arrays = {"v": np.array([1.5, 2.0], np.float32), "n": np.int64(3)}
    write(path, [{"a": "ü"}, Point(1)], [Name("x"), arrays, day])
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == [
        {"a": "ü"}, {"x": 1}, {"first": "x"}, {"v": [1.5, 2.0], "n": 3}, "2026-01-02",
    ]  # fmt: skip


def test_the_file_appears_only_when_the_job_ended_well(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")
    writer = JsonLinesSink(str(path)).open()
    writer.write([1])
    assert path.read_text() == "old\n"
    writer.close(complete=False)
    assert path.read_text() == "old\n"
    write(path, [2])
    assert path.read_text() == "2\n"
    assert os.listdir(tmp_path) == ["out.jsonl"]


def test_a_stream_without_records_writes_an_empty_file(tmp_path: Path) -> None:
    write(tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == b""


def test_a_record_without_a_json_form_is_named_and_shown(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    writer = JsonLinesSink(str(path)).open()
    writer.write([1, 2])
    with pytest.raises(SinkUnwritable, match=r"record 4 for .*out.jsonl has no JSON form.*object") as caught:
        writer.write([3, {"x": object()}])
    assert "dict" in caught.value.do
    writer.close(complete=False)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("record", "what"),
    [
        ({"id": 1, "score": float("nan")}, r"nan at \$\.score is no number of JSON; it is \{'id': 1"),
        ({"a": [None, {"b": float("-inf")}]}, r"-inf at \$\.a\[1\]\.b is"),
        (np.array([0.5, np.inf]), r"inf at \$\[1\] is"),
        (float("inf"), "inf is no JSON"),
    ],
)
def test_a_number_that_is_no_json_is_refused_by_its_field_and_not_written_as_null(
    tmp_path: Path, record: object, what: str
) -> None:
    path = tmp_path / "out.jsonl"
    writer = JsonLinesSink(str(path)).open()
    with pytest.raises(SinkUnwritable, match=f"record 2 for .*out.jsonl has no JSON form: {what}") as caught:
        writer.write([{"score": None}, record])
    assert caught.value.at == 1
    writer.write([{"score": None}, "null"])
    writer.close(complete=True)
    assert path.read_text() == '{"score":null}\n"null"\n'


class Told(msgspec.Struct):
    body: msgspec.Raw
    score: float | None = None


def test_json_that_a_record_has_already_is_written_as_it_is_and_its_numbers_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    writer = JsonLinesSink(str(path)).open()
    writer.write([Told(msgspec.Raw(b'{"a":null}')), {"big": 2**63, "none": None}, ["\u007f\u00f0", None]])
    with pytest.raises(SinkUnwritable, match=r"nan at \$\.score is no number of JSON"):
        writer.write([Told(msgspec.Raw(b"[1]"), float("nan"))])
    with pytest.raises(SinkUnwritable, match=r"inf at \$\[1\] is no number of JSON"):
        writer.write([[2**64, float("inf")]])
    writer.close(complete=True)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == '{"body":{"a":null},"score":null}'
    assert json.loads(lines[1]) == {"big": 2**63, "none": None}


def test_records_that_json_does_not_know_are_set_aside_one_by_one(tmp_path: Path) -> None:
    flow = Flow("f")
    records = flow.from_collection([1.0, float("nan"), 2.0, float("inf"), {3}, object()])
    records.write_jsonl(tmp_path / "out.jsonl").named("written").on_error("dead_letter")
    with sage.connect() as cluster:
        job = cluster.submit(flow)
        result = job.wait(60)
        letters = job.dead_letters()
    assert (tmp_path / "out.jsonl").read_text() == "1.0\n2.0\n[3]\n"
    assert result.dead_letters == 3
    assert [letter.lineage.partition(" (")[0] for letter in letters] == [
        f"record {number} of 'from_collection'" for number in (2, 4, 6)
    ]
    assert all("has no JSON form" in letter.error for letter in letters)


def test_a_number_that_is_no_json_fails_the_job_unless_it_says_otherwise(tmp_path: Path) -> None:
    flow = Flow("f")
    flow.from_collection([1.0, float("nan")]).write_jsonl(tmp_path / "out.jsonl")
    with pytest.raises(SinkUnwritable, match=r"record 2 for .* nan is no JSON"):
        flow.run(timeout_s=60, progress=False)
    assert os.listdir(tmp_path) == []


def test_a_record_that_was_refused_is_not_tried_again(tmp_path: Path) -> None:
    flow = Flow("f")
    end = flow.from_collection([1]).write_jsonl(tmp_path / "out.jsonl")
    with pytest.raises(FlowInvalid, match="tries no record again"):
        end.on_error("retry")
    with pytest.raises(FlowInvalid, match="tries no record again"):
        end.on_error("dead_letter", retries=2)


@pytest.mark.parametrize("path", ["missing/out.jsonl", "."])
def test_a_place_that_cannot_be_written_is_named_before_any_record_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SinkUnwritable, match=str(tmp_path)):
        JsonLinesSink(path).open()
