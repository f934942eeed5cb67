"""A log that a process appends to by itself stays bounded, and can be read on across what was moved away."""

import shutil
from pathlib import Path

import pytest

from cluster.runtime.bounded_log import BoundedLog


class Writer:
    """Appends numbered lines of ten bytes through one open file, as a process does."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self.num_lines = 0

    def write(self, num: int) -> None:
        for _ in range(num):
            self._file.write(b"%9d\n" % self.num_lines)
            self.num_lines += 1

    def close(self) -> None:
        self._file.close()


def lines(*numbers: int) -> bytes:
    return b"".join(b"%9d\n" % number for number in numbers)


def test_what_is_short_enough_stays_where_it_is(tmp_path: Path) -> None:
    log, writer = BoundedLog(tmp_path / "log", max_bytes=100), Writer(tmp_path / "log")
    writer.write(10)
    log.bound()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert log.piece(None, 20) == (lines(8, 9), 100)
    assert log.piece(0, 20) == (lines(0, 1), 20)
    writer.close()


def test_who_reads_on_misses_nothing_of_what_is_kept(tmp_path: Path) -> None:
    log, writer = BoundedLog(tmp_path / "log", max_bytes=100), Writer(tmp_path / "log")
    read, at = b"", 0
    for _ in range(20):
        writer.write(7)
        data, at = log.piece(at, 1_000)
        read += data
        log.bound()
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 200
    assert read == lines(*range(writer.num_lines))
    assert log.piece(None, 30) == (lines(137, 138, 139), 1_400)
    assert log.tail().endswith("139")
    writer.close()


def test_a_piece_goes_over_from_what_was_moved_to_what_came_since(tmp_path: Path) -> None:
    log, writer = BoundedLog(tmp_path / "log", max_bytes=100), Writer(tmp_path / "log")
    writer.write(15)
    log.bound()
    writer.write(2)
    assert log.piece(130, 30) == (lines(13, 14, 15), 160)
    assert log.piece(None, 30) == (lines(14, 15, 16), 170)
    assert log.piece(160, 30) == (lines(16), 170)
    assert log.piece(170, 30) == (b"", 170)
    writer.close()


def test_what_is_in_no_file_any_more_is_passed_over(tmp_path: Path) -> None:
    log, writer = BoundedLog(tmp_path / "log", max_bytes=100), Writer(tmp_path / "log")
    writer.write(25)
    log.bound()
    assert log.piece(0, 20) == (lines(15, 16), 170), "of one long stretch the newest is kept"
    assert log.piece(10_000, 20) == (b"", 250), "a mark beyond the end is at the end"
    assert log.piece(-5, 20) == (lines(15, 16), 170)
    writer.close()


def test_where_it_cannot_be_moved_it_stays(tmp_path: Path) -> None:
    log, writer = BoundedLog(tmp_path / "log", max_bytes=100), Writer(tmp_path / "log")
    writer.write(11)
    (tmp_path / "log.1").mkdir()
    log.bound()
    assert log.piece(0, 1_000) == (lines(*range(11)), 110)
    shutil.rmtree(tmp_path / "log.1")
    log.bound()
    assert log.piece(None, 20) == (lines(9, 10), 110)
    writer.close()


def test_of_a_log_that_is_not_there_there_is_no_tail(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path / "none")
    log.bound()
    assert log.tail() == ""
    with pytest.raises(FileNotFoundError):
        log.piece(None, 10)
