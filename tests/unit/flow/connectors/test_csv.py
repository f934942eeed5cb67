"""CSV files as sources and sinks."""

import csv
import datetime as dt
import gzip
import io
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sage
from sage.base.errors import FlowInvalid, SinkUnwritable, SourceUnreadable
from sage.flow import lines
from sage.flow.connectors import csv_rows
from sage.flow.connectors.csv_source import CsvSource
from sage.flow.connectors.text_sinks import CsvSink
from tests.unit.flow.connectors.reading import check_positions, read_all


class Order(msgspec.Struct):
    id: int
    name: str = "nobody"
    total: float | None = None
    day: dt.date = dt.date(2000, 1, 1)


@dataclass
class Point:
    x: int
    y: int


def test_rows_are_dicts_of_texts_by_the_columns_of_their_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbfid,name\r\n1,"Ada, Countess"\r\n\r\n2,"two\r\nlines"\r\n')
    (tmp_path / "b.csv").write_text("name,id\nBob,3")
    (tmp_path / "c.csv").write_text("")
    (tmp_path / "d.csv").write_text("id,name\n")
    found = read_all(CsvSource(str(tmp_path / "*.csv")))
    assert found == [
        {"id": "1", "name": "Ada, Countess"},
        {"id": "2", "name": "two\r\nlines"},
        {"name": "Bob", "id": "3"},
    ]


def test_typed_rows_are_made_of_their_texts_and_empty_ones_are_defaults(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id;name;total;day\n1;Ada;2.5;2026-11-22\n2;;;\n")
    found = read_all(CsvSource(str(tmp_path / "a.csv"), Order, ";"))
    assert found == [Order(1, "Ada", 2.5, dt.date(2026, 11, 22)), Order(2, "", None)]


def test_every_row_is_gone_on_with_wherever_pieces_of_the_file_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LEN_READ_BYTES", 64)
    for name in "ab":
        with open(tmp_path / f"{name}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["n", "text"])
            writer.writerows([number, "x\n" * (number % 40)] for number in range(60))
    check_positions(CsvSource(str(tmp_path / "*.csv")), 120, max_records=7)


@given(
    rows=st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), max_size=9),
    len_read=st.integers(1, 40),
    is_packed=st.booleans(),
)
def test_what_is_written_is_read_again(rows: list[tuple[str, str]], len_read: int, is_packed: bool) -> None:
    rows = [row for row in rows if "\0" not in "".join(row)]
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr(lines, "LEN_READ_BYTES", len_read)
        path = f"{folder}/x.csv{'.gz' * is_packed}"
        writer = CsvSink(path, ("a", "b")).open()
        for a, b in rows:
            writer.write([{"a": a, "b": b}])
        writer.close(complete=True)
        assert [(row["a"], row["b"]) for row in read_all(CsvSource(path), 3)] == rows


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("x,y\n1,2\n3\n", "line 3 of {} has 1 fields, and there are 2 columns"),
        ('x,y\n1,"a\nb"\n3,4,5\n', "line 4 of {} has 3 fields, and there are 2 columns"),
        ("x,y\n1,2\n\n3,four\n", "line 4 of {} does not fit the type: Expected `int`, got `str`"),
        ('x,y\n1,"2\n3,4\n', "the row on line 2 of {} has a quote that nothing closes"),
        ('x,y\n1,2\n"3"3,4\n', "line 3 of {} is not CSV: ',' expected after '\"'"),
        ("x,x\n1,2\n", "{} has more than one column x"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, content: str, what: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(SourceUnreadable) as caught:
        read_all(CsvSource(str(path), Point), 100)
    assert what.format(path) in str(caught.value)
    assert caught.value.do


def test_a_bad_row_of_a_packed_file_is_shown_by_unpacking_it(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"x,y\n1\n"))
    with pytest.raises(SourceUnreadable) as caught:
        read_all(CsvSource(str(path)))
    assert caught.value.do == f"Look at it: zcat {path} | sed -n 2p"


def test_a_quote_that_nothing_closes_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LEN_READ_BYTES", 1_000)
    monkeypatch.setattr(csv_rows, "MAX_ROW_BYTES", 5_000)
    path = tmp_path / "a.csv"
    path.write_bytes(b'x\n"' + b"long line\n" * 2_000 + b'"\n')
    with pytest.raises(SourceUnreadable, match=r"the row on line 2 of .* has a quote that nothing closes"):
        read_all(CsvSource(str(path)))


def test_a_flow_writes_rows_of_dicts_dataclasses_and_structs(tmp_path: Path) -> None:
    flow = sage.Flow("f")
    records: list[Any] = [Point(1, 2), {"y": 4, "x": 3}, {"x": 5}]
    flow.from_collection(records).write_csv(tmp_path / "out.csv")
    assert flow.run(progress=False).records_in == 3
    assert (tmp_path / "out.csv").read_text() == "x,y\n1,2\n3,4\n5,\n"
    again = sage.Flow("again")
    found = again.read_csv(tmp_path / "out.csv", timestamp=lambda row: float(row["x"])).collect()
    again.run(progress=False)
    assert [row["x"] for row in found.items] == ["1", "3", "5"]


def test_a_field_without_column_is_refused_not_dropped(tmp_path: Path) -> None:
    writer = CsvSink(str(tmp_path / "out.csv")).open()
    writer.write([{"a": 1}])
    with pytest.raises(SinkUnwritable, match="has the fields b, and there are columns for a only"):
        writer.write([{"a": 1, "b": 2}])
    writer.close(complete=False)
    assert not list(tmp_path.iterdir())


def test_what_is_no_row_is_refused(tmp_path: Path) -> None:
    writer = CsvSink(str(tmp_path / "out.csv")).open()
    with pytest.raises(SinkUnwritable, match="is no row: it is 'text'"):
        writer.write(["text"])
    writer.close(complete=False)


def test_columns_are_there_without_any_record(tmp_path: Path) -> None:
    CsvSink(str(tmp_path / "out.csv"), ("a", "b")).open().close(complete=True)
    assert next(csv.reader(io.StringIO((tmp_path / "out.csv").read_text()))) == ["a", "b"]


@pytest.mark.parametrize("columns", ["ab", [], ["a", "a"], [1]])
def test_columns_that_are_none_are_refused(columns: Any) -> None:
    with pytest.raises(FlowInvalid, match="columns are names, each once"):
        sage.Flow("f").from_collection([{}]).write_csv("x.csv", columns=columns)


@pytest.mark.parametrize("delimiter", ["", "ab", '"', "\n"])
def test_a_delimiter_is_one_character(delimiter: str) -> None:
    with pytest.raises(FlowInvalid, match="a delimiter is one character"):
        sage.Flow("f").read_csv("x.csv", delimiter=delimiter)
