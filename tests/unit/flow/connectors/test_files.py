"""Packed files, and files at URLs: found, read, gone on with."""

import bz2
import gzip
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from sage.base.errors import ExtraMissing, SourceUnreadable
from sage.flow import lines
from sage.flow.connectors.extras import library
from sage.flow.sources import TextSource
from tests.unit.flow.connectors.reading import check_positions, read_all

LINES = [f"line {number} ü" for number in range(500)]
TEXT = "".join(f"{line}\n" for line in LINES).encode()


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    """A file system that is no disk."""
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


@pytest.mark.parametrize(("ending", "packed"), [("gz", gzip.compress(TEXT)), ("bz2", bz2.compress(TEXT))])
def test_packed_files_are_read_and_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, packed: bytes
) -> None:
    monkeypatch.setattr(lines, "LEN_READ_BYTES", 1500)
    (tmp_path / f"a.txt.{ending}").write_bytes(packed)
    (tmp_path / "b.txt").write_text("last")
    source = TextSource(str(tmp_path / "*.txt*"))
    assert read_all(source, 1000) == [*LINES, "last"]
    check_positions(source, 501, max_records=70)


def test_a_packed_file_of_several_pieces_is_one(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    assert read_all(TextSource(str(path))) == ["one", "two"]


@pytest.mark.parametrize("content", [b"not packed", gzip.compress(TEXT)[:-9], gzip.compress(TEXT)[:40] + b"\xff" * 99])
def test_a_damaged_packed_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(SourceUnreadable, match=r"a\.gz cannot be unpacked: .+") as caught:
        read_all(TextSource(str(tmp_path / "a.gz")), 1000)
    assert "whole" in caught.value.do


def test_a_packed_file_that_has_shrunk_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"one\n"))
    with pytest.raises(SourceUnreadable, match="has 4 bytes, and 8 of it were read before"):
        TextSource(str(path)).open_at((str(path), 3, 8, 0)).read(1)


def test_files_at_urls_are_found_by_patterns_and_gone_on_with(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe({"/in/a.txt": b"one\ntwo\n", "/in/b.txt.gz": gzip.compress(b"three\nfour"), "/in/c.csv": b"no"})
    source = TextSource("memory://in/*.txt*")
    assert read_all(source) == ["one", "two", "three", "four"]
    check_positions(source, 4, max_records=1)


def test_a_url_without_file_says_so(memory: fsspec.AbstractFileSystem) -> None:
    with pytest.raises(SourceUnreadable, match="there is no memory://nothing"):
        TextSource("memory://nothing").open()


def test_a_url_that_nothing_knows_says_what_is_missing() -> None:
    with pytest.raises(SourceUnreadable, match="fsspec cannot open strange://x: Protocol not known"):
        TextSource("strange://x").open()


def test_a_library_that_is_missing_is_named_with_its_extra() -> None:
    with pytest.raises(ExtraMissing, match="no_such_library is not installed") as caught:
        library("no_such_library.part", "arrow")
    assert caught.value.do == "Run: pip install 'sage-engine[arrow]'"
