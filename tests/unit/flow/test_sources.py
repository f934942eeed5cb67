"""Collections and files as sources."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.base.errors import SourceUnreadable
from sage.flow import lines
from sage.flow.ports import Source
from sage.flow.sources import JsonLinesSource, TextSource, source_from_collection


def read_all(source: Source[Any], max_records: int = 2) -> list[Any]:
    reader = source.open()
    found: list[Any] = []
    while (batch := reader.read(max_records)) is not None:
        assert 1 <= len(batch) <= max_records
        found.extend(batch)
    reader.close()
    return found


@pytest.mark.parametrize("items", [[1, 2, 3], (1, 2, 3), range(1, 4), {1: "", 2: "", 3: ""}, iter([1, 2, 3])])
def test_anything_that_can_be_iterated_is_a_source(items: Iterable[int]) -> None:
    assert read_all(source_from_collection(items)) == [1, 2, 3]


def test_an_empty_collection_ends_at_once() -> None:
    assert read_all(source_from_collection([])) == []


def test_a_range_is_sliced_and_never_spread_out() -> None:
    batch = source_from_collection(range(10**12)).open().read(1000)
    assert batch == range(1000)


def test_a_collection_can_be_read_again_but_an_iterator_says_that_it_is_used_up() -> None:
    assert read_all(source_from_collection({1})) == read_all(source_from_collection({1}))
    source = source_from_collection(iter([1]))
    read_all(source)
    with pytest.raises(SourceUnreadable, match="earlier run") as caught:
        source.open()
    assert "list" in caught.value.do


def test_a_generator_is_closed_with_its_reader() -> None:
    closed: list[bool] = []

    def numbers() -> Iterable[int]:
        try:
            yield from range(10)
        finally:
            closed.append(True)

    reader = source_from_collection(numbers()).open()
    reader.read(1)
    reader.close()
    assert closed == [True]


def test_lines_come_without_their_ends_and_without_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\n\nf\xc3\xbcnf\x0b\xe2\x80\xa8x\nlast")
    assert read_all(TextSource(str(path))) == ["one", "two", "", "fünf\x0b\u2028x", "last"]


def test_an_empty_file_is_an_empty_stream(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.touch()
    assert read_all(TextSource(str(path))) == []


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\ufeff"), max_size=9)), st.integers(1, 9))
def test_lines_are_the_same_wherever_the_blocks_are_cut(texts: list[str], len_read: int) -> None:
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr(lines, "LEN_READ_BYTES", len_read)
        path = Path(folder) / "lines.txt"
        path.write_text("".join(text + "\n" for text in texts), encoding="utf-8", newline="")
        assert read_all(TextSource(str(path))) == texts


def test_a_glob_reads_its_files_in_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c.md"):
        (tmp_path / name).write_text(f"{name}\n")
    assert read_all(TextSource(str(tmp_path / "*.txt"))) == ["a.txt", "b.txt"]


def test_a_file_whose_name_looks_like_a_glob_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a[1].txt").write_text("x\n")
    assert read_all(TextSource(str(tmp_path / "a[1].txt"))) == ["x"]


@pytest.mark.parametrize("name", ["missing.txt", "*.txt"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceUnreadable) as caught:
        TextSource(str(tmp_path / name)).open()
    assert str(tmp_path / name) in caught.value.what
    assert caught.value.do


def test_a_folder_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match="directory"):
        read_all(TextSource(str(tmp_path)))


def test_a_byte_that_is_not_utf8_is_named_with_its_offset_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LEN_READ_BYTES", 8)
    path = tmp_path / "latin.txt"
    path.write_bytes(b"first\nsecond\nna\xefve\n")
    with pytest.raises(SourceUnreadable, match="byte 0xef at offset 15, line 3") as caught:
        read_all(TextSource(str(path)))
    assert str(path) in caught.value.what
    assert "iconv" in caught.value.do


def test_json_lines_are_decoded_and_blank_ones_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('\n{"a": 1}\n\n\n[2]\n \n"three"\n')
    assert read_all(JsonLinesSource(str(path), Any)) == [{"a": 1}, [2], "three"]


class Order(msgspec.Struct):
    total: int


def test_json_lines_of_a_type_are_of_that_type(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"total": 1}\n')
    assert read_all(JsonLinesSource(str(path), Order)) == [Order(1)]


@pytest.mark.parametrize(
    ("line", "why"), [('{"total": ', "is not JSON"), ('{"total": "x"}', "does not fit the type: Expected `int`")]
)
def test_a_broken_json_line_is_named_by_file_and_number(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"total": 1}\n\n{"total": 2}\n' + line + '\n{"total": 3}\n')
    with pytest.raises(SourceUnreadable) as caught:
        read_all(JsonLinesSource(str(path), Order), max_records=100)
    assert f"line 4 of {path} {why}" in caught.value.what
    assert f"sed -n 4p {path}" in caught.value.do


def test_a_reader_of_a_file_can_be_closed_before_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a\nb\n")
    reader = TextSource(str(path)).open()
    assert reader.read(1) == ["a"]
    reader.close()
