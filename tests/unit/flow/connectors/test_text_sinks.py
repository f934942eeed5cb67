"""Lines as a sink, and what packed and plain files make of a kill."""

import gzip
from pathlib import Path
from typing import Any

import msgspec
import pytest

import sage
from sage.base.errors import FlowInvalid, SinkUnwritable
from sage.flow.connectors.text_sinks import CsvSink, TextSink
from sage.flow.ports import repeats_of
from sage.flow.sinks import JsonLinesSink, PrintSink


def test_a_flow_writes_lines(tmp_path: Path) -> None:
    flow = sage.Flow("f")
    flow.from_collection(["to be", "or not"]).write_text(tmp_path / "out.txt.gz")
    flow.run(progress=False)
    assert gzip.decompress((tmp_path / "out.txt.gz").read_bytes()) == b"to be\nor not\n"


@pytest.mark.parametrize(("record", "what"), [(1, "is no text"), ("a\nb", "is of more than one line")])
def test_what_is_no_line_is_refused(tmp_path: Path, record: Any, what: str) -> None:
    writer = TextSink(str(tmp_path / "out.txt")).open()
    with pytest.raises(SinkUnwritable, match=what):
        writer.write([record])
    writer.close(complete=False)


@pytest.mark.parametrize("name", ["out.txt", "out.txt.gz", "out.txt.bz2", "out.csv", "out.csv.gz", "out.jsonl.gz"])
def test_all_beyond_a_position_is_undone(tmp_path: Path, name: str) -> None:
    path = str(tmp_path / name)
    sink: Any = {"txt": TextSink, "csv": CsvSink, "jsonl": JsonLinesSink}[name.split(".")[1]](path)
    record = (lambda n: f"{n}") if isinstance(sink, TextSink) else (lambda n: {"n": n})
    writer = sink.open()
    writer.write([record(1)])
    written = writer.written()
    written.settle()
    position = msgspec.msgpack.decode(msgspec.msgpack.encode(written.position))
    writer.write([record(99)])
    writer.close(complete=False)
    again = sink.resume(position, ())
    again.write([record(2)])
    again.close(complete=True)
    flow = sage.Flow("f")
    lines = flow.read_text(path).collect()
    flow.run(progress=False)
    assert lines.items in (["1", "2"], ["n", "1", "2"], ['{"n":1}', '{"n":2}'])
    assert [found.name for found in tmp_path.iterdir()] == [name]


def test_sinks_say_what_a_repeated_record_does() -> None:
    assert repeats_of(TextSink("x")).value == "hidden"
    assert repeats_of(PrintSink()).value == "shown"


def test_a_sink_of_the_users_ends_a_stream(capsys: pytest.CaptureFixture[str]) -> None:
    flow = sage.Flow("f")
    flow.from_collection("ab").to(PrintSink())
    flow.run(progress=False)
    assert capsys.readouterr().out == "a\nb\n"
    with pytest.raises(FlowInvalid, match="to takes a sink, got 5"):
        flow.from_collection("ab").to(5)  # type: ignore[arg-type]  # that is the mistake


ROWS = [{"n": 1}, {"n": 2, "extra": 0}, 3, {"n": "\ud800"}, {"n": 5}]


def test_records_that_are_no_lines_or_rows_are_set_aside_one_by_one(tmp_path: Path) -> None:
    flow = sage.Flow("f")
    lines = flow.from_collection(["a", "b\nc", 3, "\ud800", "d"])
    lines.write_text(tmp_path / "out.txt").on_error("dead_letter")
    flow.from_collection(ROWS).write_csv(tmp_path / "out.csv").on_error("dead_letter")
    assert flow.run(progress=False, timeout_s=60).dead_letters == 6
    assert (tmp_path / "out.txt").read_text() == "a\nd\n"
    assert (tmp_path / "out.csv").read_text() == "n\n1\n5\n"


def test_a_first_row_that_is_refused_names_no_columns(tmp_path: Path) -> None:
    writer = CsvSink(str(tmp_path / "out.csv")).open()
    for bad in ({"\ud800": 1}, {"bad": "\ud800"}):
        with pytest.raises(SinkUnwritable, match="no UTF-8 form") as caught:
            writer.write([bad])
        assert caught.value.at == 0
    writer.write([{"n": 1}])
    writer.close(complete=True)
    assert (tmp_path / "out.csv").read_text() == "n\n1\n"


def test_the_form_of_a_record_is_its_line() -> None:
    assert TextSink("out.txt").form_of("a") == "a\n"
    assert CsvSink("out.csv", ("n", "m")).form_of({"n": 1}) == "1,\n"
    with pytest.raises(SinkUnwritable, match="has the fields extra"):
        CsvSink("out.csv", ("n",)).form_of(ROWS[1])
