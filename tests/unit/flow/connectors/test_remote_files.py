"""Files at URLs as sinks: whole at a good end, gone on with from a checkpoint, in memory and on a disk by fsspec."""

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest

import sage
from cluster.checkpoints.manifest import SUFFIX
from sage.base.errors import DiskFull, RecordFailed, SinkUnwritable
from sage.flow.connectors.parquet_sink import ParquetSink
from sage.flow.connectors.text_sinks import CsvSink, TextSink
from sage.flow.ports import Written
from sage.flow.remote_file import RemoteFile, begin_remote
from sage.flow.sinks import JsonLinesSink
from tests.unit.full_disk import files_of_at_most

KINDS: dict[str, tuple[Any, list[Any]]] = {
    "a.txt": (TextSink, ["one", "two", "three", "four"]),
    "a.txt.gz": (TextSink, ["one", "two", "three", "four"]),
    "a.jsonl": (JsonLinesSink, [1, 2, 3, 4]),
    "a.csv": (CsvSink, [{"n": "1"}, {"n": "2"}, {"n": "3"}, {"n": "4"}]),
    "a.parquet": (ParquetSink, [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}]),
}


@pytest.fixture(params=["memory", "file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A URL under which nothing is."""
    return f"memory://{uuid4().hex}" if request.param == "memory" else f"file://{tmp_path}"


def names(place: str) -> list[str]:
    system, path = fsspec.url_to_fs(place)
    return sorted(name.removeprefix(path).strip("/") for name in system.find(path)) if system.exists(path) else []


def read(url: str) -> list[Any]:
    """Return what a flow reads there."""
    flow = sage.Flow("read")
    by_name: dict[str, Any] = {"jsonl": flow.read_jsonl, "csv": flow.read_csv, "parquet": flow.read_parquet}
    found = by_name.get(url.rpartition(".")[2], flow.read_text)(url).collect()
    flow.run(progress=False)
    return list(found.items)


def saved(writer: Any) -> Any:
    written: Written = writer.written()
    assert written.settle is not None
    written.settle()
    return written.position


@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_seen_before_the_end_and_then_all(name: str, place: str) -> None:
    make, records = KINDS[name]
    url = f"{place}/deep/{name}"
    writer = make(url).open()
    writer.write(records[:2])
    saved(writer)
    writer.write(records[2:])
    assert all(".parts/" in found for found in names(place))
    writer.close(complete=True)
    assert names(place) == [f"deep/{name}"]
    assert read(url) == records


@pytest.mark.parametrize("is_over", [False, True], ids=["before the end", "after the end"])
@pytest.mark.parametrize("name", KINDS)
def test_a_writing_is_gone_on_with_where_a_checkpoint_was(name: str, is_over: bool, place: str) -> None:
    make, records = KINDS[name]
    sink = make(f"{place}/{name}")
    first = sink.open()
    first.write(records[:2])
    position = saved(first)
    first.write(["lost"] if make is TextSink else records[:1])
    if not is_over:
        saved(first)  # a checkpoint that was never complete
    first.close(complete=is_over)
    second = sink.resume(position, ())
    second.write(records[2:])
    second.close(complete=True)
    assert names(place) == [name]
    assert read(f"{place}/{name}") == records


def test_a_packed_file_is_packed(place: str) -> None:
    writer = TextSink(f"{place}/a.txt.gz").open()
    writer.write(["one"])
    saved(writer)
    writer.close(complete=True)
    system, path = fsspec.url_to_fs(f"{place}/a.txt.gz")
    assert gzip.decompress(system.cat(path)) == b"one\n"


def test_a_job_that_fails_leaves_nothing_but_what_a_checkpoint_counts_on(place: str) -> None:
    flow = sage.Flow("fails")
    flow.from_collection([1, 0]).map(lambda n: str(1 // n)).write_text(f"{place}/a.txt")
    with pytest.raises(RecordFailed):
        flow.run(progress=False)
    assert names(place) == []


def test_a_flow_with_checkpoints_writes_to_a_url(place: str, tmp_path: Path) -> None:
    numbers = [str(number) for number in range(20_000)]

    def to(fails_at: str) -> tuple[sage.Flow, Any]:
        def checked(number: str) -> str:
            if number == fails_at:
                raise ValueError(number)
            return number

        flow = sage.Flow("flow")
        flow.from_collection(numbers).map(checked).write_text(f"{place}/a.txt")
        return flow, sage.Checkpoint(tmp_path / "kept", every_s=0.01)

    flow, kept = to("19999")
    with pytest.raises(RecordFailed):
        flow.run(progress=False, checkpoint=kept)
    assert f"{place}/a.txt" not in names(place)
    is_kept = bool(list((tmp_path / "kept").rglob(f"*{SUFFIX}")))
    begun = {name.partition("/")[0] for name in names(place)}
    flow, kept = to("none")
    result = flow.run(progress=False, checkpoint=kept)
    assert "exactly once" in result.guarantees[-1]
    assert read(f"{place}/a.txt") == numbers
    assert "a.txt" in names(place)
    left = {name.partition("/")[0] for name in names(place) if "parts" in name}
    assert left == set() if is_kept else left <= begun, "those of a checkpoint that was never complete stay"


def test_parts_that_are_gone_and_stores_that_are_unknown_are_said(place: str) -> None:
    writer = TextSink(f"{place}/a.txt").open()
    writer.write(["one"])
    position: Sequence[Any] = saved(writer)
    writer.close(complete=False)
    system, path = fsspec.url_to_fs(position[0])
    system.rm(path, recursive=True)
    with pytest.raises(SinkUnwritable, match="is gone"):
        TextSink(f"{place}/a.txt").resume(position, ())
    with pytest.raises(SinkUnwritable, match="fsspec cannot open nowhere://a"):
        TextSink("nowhere://a").open()


def begun(url: str, records: list[str]) -> tuple[Any, Sequence[Any]]:
    """Return a writer with a part for each record, and where it is."""
    writer = TextSink(url).open()
    position: Sequence[Any] = ()
    for record in records:
        writer.write([record])
        position = saved(writer)
    return writer, position


def test_a_file_of_somebody_else_is_not_gone_on_with(place: str) -> None:
    writer, position = begun(f"{place}/a.txt", ["one"])
    writer.write(["two"])
    writer.close(complete=True)
    system, path = fsspec.url_to_fs(f"{place}/a.txt")
    system.pipe(path, b"ONE\nand more\n")
    with pytest.raises(SinkUnwritable, match="is gone"):
        TextSink(f"{place}/a.txt").resume(position, ())
    assert system.cat(path) == b"ONE\nand more\n"


def test_a_part_that_a_lost_run_brings_late_is_not_taken_for_that_of_the_next(place: str) -> None:
    lost, position = begun(f"{place}/a.txt", ["one"])
    lost.write(["zombie"])
    late = lost.written()
    assert late.settle is not None
    second = TextSink(f"{place}/a.txt").resume(position, ())
    second.write(["two"])
    position = saved(second)
    late.settle()
    lost.close(complete=False)
    second.close(complete=False)
    third = TextSink(f"{place}/a.txt").resume(position, ())
    third.write(["three"])
    saved(third)
    third.close(complete=True)
    assert read(f"{place}/a.txt") == ["one", "two", "three"]
    assert names(place) == ["a.txt"]


class Slow:
    """A store in which the next file takes so long to open that `meanwhile` happens."""

    def __init__(self, system: Any, meanwhile: Callable[[], object]) -> None:
        self._system = system
        self._meanwhile = [meanwhile]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._system, name)

    def open(self, path: str, mode: str) -> Any:
        while self._meanwhile:
            self._meanwhile.pop()()
        return self._system.open(path, mode)


def test_a_part_that_is_on_its_way_while_the_whole_takes_its_place_does_not_stay(place: str) -> None:
    url = f"{place}/a.txt"
    file = begin_remote(url)
    file.write(b"one")
    file.written()
    file.write(b" two")
    later = file.written()
    file._system = Slow(file._system, lambda: file.close(complete=True))
    assert later.settle is not None
    later.settle()
    assert names(place) == ["a.txt"]
    assert read(url) == ["one two"]


def test_a_part_that_is_given_up_before_it_is_there_is_in_no_checkpoint(place: str) -> None:
    """What settles without an error is counted on: a run that went on from it would find the part gone."""
    file = begin_remote(f"{place}/a.txt")
    file.write(b"one")
    before = file.written()
    file.close(complete=False)
    assert before.settle is not None
    with pytest.raises(SinkUnwritable, match="was given up"):
        before.settle()


def write_and_keep(file: RemoteFile, data: bytes) -> None:
    file.write(data)
    file.written()


@pytest.mark.parametrize("num_bytes", [4_000, 100_000])
def test_a_full_disk_of_this_machine_is_told_as_one_and_waited_for(num_bytes: int) -> None:
    """Few bytes are refused when they leave Python's buffer, many at once."""
    url = f"memory://{uuid4().hex}/a.txt"
    file = begin_remote(url)
    with files_of_at_most(1_000), pytest.raises(DiskFull, match="disk full at"):
        write_and_keep(file, b"a" * num_bytes)
    with files_of_at_most(1_000):
        file.close(complete=False)
    again = begin_remote(url)
    again.write(b"a" * num_bytes)
    again.close(complete=True)
    assert len(read(url)[0]) == num_bytes


def test_any_part_that_is_gone_is_said_when_it_is_gone_on_with(place: str) -> None:
    writer, position = begun(f"{place}/a.txt", ["one", "two", "three"])
    writer.close(complete=False)
    system, path = fsspec.url_to_fs(position[0])
    system.rm(sorted(system.find(path))[1])
    with pytest.raises(SinkUnwritable, match="or parts of it are"):
        TextSink(f"{place}/a.txt").resume(position, ())


@pytest.mark.parametrize(
    "position", [("memory://kept.parts", 2, 17), ("/tmp/.a.partial", 17, 1, 2), ("memory://a", (), 0)]
)
def test_a_position_of_another_form_is_refused_with_what_to_do(position: tuple[Any, ...]) -> None:
    """As an earlier version kept it of a URL, or as it is kept of a file of this machine."""
    with pytest.raises(SinkUnwritable, match=r"how far memory://a\.txt was written is kept in a form that") as raised:
        TextSink("memory://a.txt").resume(position, ())
    assert 'begin anew: resume="never"' in raised.value.do


def test_a_position_of_a_url_is_refused_for_a_file_of_this_machine(tmp_path: Path) -> None:
    writer, position = begun(f"memory://{uuid4().hex}/a.txt", ["one"])
    writer.close(complete=False)
    with pytest.raises(SinkUnwritable, match="is kept in a form that is not read here: Expected `int`, got"):
        TextSink(str(tmp_path / "a.txt")).resume(position, ())
