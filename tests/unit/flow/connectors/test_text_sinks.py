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
