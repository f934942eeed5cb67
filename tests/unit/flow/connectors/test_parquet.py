"""Parquet files as sources and sinks."""

import datetime as dt
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sage
from sage.base.errors import FlowInvalid, SinkUnwritable, SourceUnreadable
from sage.flow.connectors import parquet_sink, parquet_source
from sage.flow.connectors.parquet_sink import ParquetSink
from sage.flow.connectors.parquet_source import ParquetSource
from tests.unit.flow.connectors.reading import check_positions, read_all


class Row(msgspec.Struct):
    n: int
    when: dt.datetime | None = None


def write_rows(path: Path, num_rows: int, first: int = 0) -> list[dict[str, Any]]:
    rows = [{"n": first + number, "name": f"row {number}"} for number in range(num_rows)]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=25)
    return rows


def test_rows_of_all_files_are_read_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_source, "_LEN_READ_ROWS", 10)
    rows = write_rows(tmp_path / "a.parquet", 60) + write_rows(tmp_path / "b.parquet", 3, 60)
    source: ParquetSource[Any] = ParquetSource(str(tmp_path / "*.parquet"))
    assert read_all(source, 7) == rows
    check_positions(source, 63, max_records=7)


def test_only_the_columns_that_are_asked_for_are_read(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.parquet", 2)
    assert read_all(ParquetSource(str(tmp_path / "a.parquet"), None, ("n",))) == [{"n": 0}, {"n": 1}]
    with pytest.raises(SourceUnreadable, match=r"a\.parquet has no column m") as caught:
        read_all(ParquetSource(str(tmp_path / "a.parquet"), None, ("m",)))
    assert caught.value.do == "It has n, name."


def test_rows_are_made_into_a_type_or_named_where_they_do_not_fit(tmp_path: Path) -> None:
    when = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
    pq.write_table(pa.Table.from_pylist([{"n": 1, "when": when}]), tmp_path / "a.parquet")
    assert read_all(ParquetSource(str(tmp_path / "a.parquet"), Row)) == [Row(1, when)]
    pq.write_table(pa.table({"n": [1, 2, None]}), tmp_path / "b.parquet", row_group_size=2)
    with pytest.raises(SourceUnreadable, match=r"row 0 of row group 1 of .* does not fit the type: Expected `int`"):
        read_all(ParquetSource(str(tmp_path / "b.parquet"), Row))


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("id,name")
    with pytest.raises(SourceUnreadable, match=r"a\.parquet is not Parquet"):
        read_all(ParquetSource(str(tmp_path / "a.parquet")))


def test_a_flow_writes_what_a_flow_reads(tmp_path: Path) -> None:
    flow = sage.Flow("f")
    flow.from_collection(range(100)).map(lambda n: {"n": n, "vector": [n / 2, 1.0]}).write_parquet(
        tmp_path / "x.parquet"
    )
    flow.run(progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]
    again = sage.Flow("again")
    found = again.read_parquet(tmp_path / "x.parquet", columns=["vector"]).collect()
    again.run(progress=False)
    assert found.items == [{"vector": [n / 2, 1.0]} for n in range(100)]


def test_records_that_do_not_fit_the_schema_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    for rows, what in (([{"n": "text"}], "do not fit its schema"), ([{"m": 1}], "has the fields m")):
        writer = ParquetSink(str(tmp_path / "x.parquet"), pa.schema([("n", pa.int64())])).open()
        with pytest.raises(SinkUnwritable, match=what):
            writer.write(rows)
        writer.close(complete=False)
        assert not list(tmp_path.iterdir())


def test_records_that_do_not_fit_a_schema_are_set_aside_alone(tmp_path: Path) -> None:
    schema = pa.schema([pa.field("n", pa.int8(), nullable=False), pa.field("name", pa.string())])
    bad = [{"n": 300}, {"name": "x"}, {"m": 1}, 7, {"n": 1, "name": 5}, {"n": 1, "name": "\udc80"}, {"n": 1 << 80}]
    good = [{"n": n, "name": None} for n in range(100)]
    records = [
        record
        for at, each in enumerate(good)
        for record in ([each, bad[at // 10]] if at % 10 == 5 and at < 70 else [each])
    ]
    flow = sage.Flow("f")
    out = flow.from_collection(records).write_parquet(tmp_path / "x.parquet", schema=schema)
    out.on_error("dead_letter")
    with sage.connect() as cluster:
        job = cluster.submit(flow)
        job.wait(30)
        assert sorted(letter.value for letter in job.dead_letters()) == sorted(map(repr, bad))
    assert pq.read_table(tmp_path / "x.parquet").to_pylist() == good
    sink = ParquetSink("x.parquet", schema)
    assert sink.form_of({"n": 5}) == {"n": 5, "name": None}
    with pytest.raises(SinkUnwritable, match="do not fit its schema"):
        sink.form_of(bad[0])


FULL = pa.field("x", pa.int64(), nullable=False)


@pytest.mark.parametrize(
    ("kind", "good", "bad", "what"),
    [
        (pa.struct([FULL]), [None, {"x": 1}], [{"x": None}, {}], r"s\.x is missing, and it is not nullable"),
        (pa.list_(FULL), [None, [], [1, 2]], [[None], [1, None]], r"s\.x is missing"),
        (pa.large_list(FULL), [None, [], [1, 2]], [[1, None]], r"s\.x is missing"),
        (pa.list_view(FULL), [None, [], [1, 2]], [[1, None]], r"s\.x is missing"),
        (pa.list_(FULL, 2), [None, [1, 2]], [[1, None]], r"s\.x is missing"),
        (pa.map_(pa.string(), FULL), [None, [], [("a", 1)]], [[("a", None)]], r"s\.x is missing"),
        (pa.list_(pa.struct([FULL])), [[None, {"x": 1}]], [[{"x": 1}, {"x": None}]], r"s\.item\.x is missing"),
        (pa.struct([pa.field("t", pa.struct([FULL]))]), [{"t": None}], [{"t": {}}], r"s\.t\.x is missing"),
        (pa.timestamp("s"), [None, 5], [1 << 62, -(1 << 62)], "too far from now"),
        (pa.list_(pa.timestamp("s", "UTC")), [[5, None]], [[1 << 62]], "too far from now"),
        (pa.time32("s"), [None, 5], [86_400], "not within the acceptable range"),
    ],
    ids=str,
)
def test_what_parquet_finds_as_it_is_closed_is_found_at_the_record(
    tmp_path: Path, kind: Any, good: list[Any], bad: list[Any], what: str
) -> None:
    schema = pa.schema([("n", pa.int64()), ("s", kind)])
    writer = ParquetSink(str(tmp_path / "x.parquet"), schema).open()
    records = [{"n": at, "s": value} for at, value in enumerate([*good, *bad, *good])]
    with pytest.raises(SinkUnwritable, match=what) as caught:
        writer.write(records)
    first = caught.value
    assert [error.at for error in (first, *first.others)] == list(range(len(good), len(good) + len(bad)))
    left = records[: len(good)] + records[-len(good) :]
    writer.write(left)
    writer.close(complete=True)
    assert pq.read_table(tmp_path / "x.parquet")["n"].to_pylist() == [record["n"] for record in left]


def test_nulls_below_a_field_are_set_aside_alone_and_the_file_appears(tmp_path: Path) -> None:
    schema = pa.schema([("s", pa.struct([FULL]))])
    flow = sage.Flow("f")
    records = flow.from_collection([{"s": {"x": None if n % 7 == 3 else n}} for n in range(50)])
    records.write_parquet(tmp_path / "x.parquet", schema=schema).on_error("dead_letter")
    assert flow.run(progress=False).dead_letters == 7
    found = pq.read_table(tmp_path / "x.parquet").to_pylist()
    assert found == [{"s": {"x": n}} for n in range(50) if n % 7 != 3]


@pytest.mark.parametrize(
    ("kind", "what", "do"),
    [
        (pa.dictionary(pa.int8(), pa.string()), "the column s of the schema is dictionary", "Write string in place"),
        (pa.list_(pa.dictionary(pa.int8(), pa.int32())), "the column s of the schema is list", "Write int32 in place"),
        (pa.month_day_nano_interval(), "Parquet has no form for the schema", "another type"),
        (pa.struct([]), "Parquet has no form for the schema", "another type"),
        (pa.dense_union([pa.field("a", pa.int64())]), "Parquet has no form for the schema", "another type"),
    ],
    ids=str,
)
def test_a_schema_that_no_parquet_file_has_is_refused_at_the_call(kind: Any, what: str, do: str) -> None:
    with pytest.raises(FlowInvalid, match=rf"test_parquet\.py:\d+: {what}") as caught:
        sage.Flow("f").from_collection([{}]).write_parquet("x.parquet", schema=pa.schema([("s", kind)]))
    assert do in caught.value.do
    assert caught.value.param == "schema"


def test_what_is_no_schema_is_refused_at_the_call() -> None:
    given: Any
    for given, what in (
        ({"n": int}, "a pyarrow Schema"),
        (pa.schema([("n", pa.int8())] * 2), "names n more than once"),
    ):
        with pytest.raises(FlowInvalid, match=what):
            sage.Flow("f").from_collection([{}]).write_parquet("x.parquet", schema=given)


def test_first_records_that_parquet_has_no_form_for_are_said_before_the_end(tmp_path: Path) -> None:
    writer = ParquetSink(str(tmp_path / "x.parquet")).open()
    writer.write([{"n": {}}])
    with pytest.raises(SinkUnwritable, match="give no schema: Parquet has no form") as caught:
        writer.written()
    assert "schema=pyarrow.schema" in caught.value.do
    writer.close(complete=False)


def test_without_a_schema_no_record_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FlowInvalid, match="takes no on_error"):
        sage.Flow("f").from_collection([{}]).write_parquet(tmp_path / "x.parquet").on_error("dead_letter")
    writer = ParquetSink(str(tmp_path / "x.parquet")).open()
    writer.write([{"n": None}])
    writer.write([{"n": 1}])
    writer.close(complete=True)
    assert pq.read_table(tmp_path / "x.parquet").to_pylist() == [{"n": None}, {"n": 1}]


def test_without_records_the_file_has_the_schema_that_was_given(tmp_path: Path) -> None:
    schema = pa.schema([("n", pa.int64())])
    ParquetSink(str(tmp_path / "x.parquet"), schema).open().close(complete=True)
    assert pq.read_schema(tmp_path / "x.parquet").names == ["n"]


def test_a_writing_is_gone_on_with_from_before_and_after_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_sink, "LEN_GROUP_ROWS", 3)
    sink = ParquetSink(str(tmp_path / "x.parquet"))
    writer = sink.open()
    writer.write([{"n": n} for n in range(5)])
    written = writer.written()
    assert written.settle is not None
    written.settle()
    position = msgspec.msgpack.decode(msgspec.msgpack.encode(written.position))
    writer.write([{"n": 99}] * 7)
    writer.close(complete=False)
    assert not (tmp_path / "x.parquet").exists()
    for _ in range(2):  # the second time the file was put in its place, and the job did not live to say so
        again = sink.resume(position, ())
        again.write([{"n": n} for n in range(5, 10)])
        again.close(complete=True)
        assert pq.read_table(tmp_path / "x.parquet")["n"].to_pylist() == list(range(10))
        assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]


def test_packed_parquet_is_refused() -> None:
    with pytest.raises(FlowInvalid, match="Parquet is packed by itself"):
        sage.Flow("f").from_collection([{}]).write_parquet("x.parquet.gz")
