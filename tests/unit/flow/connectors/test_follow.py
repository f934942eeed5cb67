"""A file that grows, is renamed and cut off while it is read."""

import os
from pathlib import Path
from typing import Any

import pytest

import sage
from sage.base.errors import FlowInvalid, SourceUnreadable
from sage.flow.connectors.follow import FollowSource


def lines_of(reader: Any, num_reads: int = 8) -> list[str]:
    """Return what a few reads give: enough to see that there is no more."""
    return [line for _ in range(num_reads) for line in reader.read(2)]


def append(path: Path, text: str) -> None:
    with open(path, "a", newline="") as file:
        file.write(text)


def test_lines_are_read_once_they_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    append(path, "one\r\ntwo\nthr")
    reader = FollowSource(str(path)).open()
    assert lines_of(reader) == ["one", "two"]
    assert reader.pause_s() > 0
    append(path, "ee\nfünf\n")
    assert lines_of(reader) == ["three", "fünf"]
    reader.close()


def test_a_file_that_is_renamed_is_read_to_its_end_and_then_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    append(path, "one\n")
    reader = FollowSource(str(path)).open()
    assert lines_of(reader) == ["one"]
    path.rename(tmp_path / "app.log.1")
    assert lines_of(reader) == []
    append(tmp_path / "app.log.1", "two\nno end")
    append(path, "three\n")
    append(tmp_path / "app.logbook", "another's\n")
    assert lines_of(reader) == ["two", "no end", "three"]
    reader.close()


def test_a_file_that_is_cut_off_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    append(path, "one\ntwo\n")
    reader = FollowSource(str(path)).open()
    assert lines_of(reader) == ["one", "two"]
    os.truncate(path, 0)
    append(path, "three\n")
    assert lines_of(reader) == ["three"]
    reader.close()


@pytest.mark.parametrize("num_read", range(6))
def test_a_reading_is_gone_on_with_after_any_line_also_in_renamed_files(tmp_path: Path, num_read: int) -> None:
    path = tmp_path / "app.log"
    append(path, "one\r\ntwo ü\n")
    reader = FollowSource(str(path)).open()
    found = list(reader.read(min(num_read, 2))) if num_read else []
    position = reader.position()
    path.rename(tmp_path / "app.log.2")
    append(path, "three\nfour")
    os.utime(path, ns=(2**62, 2**62))
    path.rename(tmp_path / "app.log.1")
    append(path, "five\n")
    while len(found) < num_read:
        found += reader.read(1)
        position = reader.position()
    reader.close()
    again = FollowSource(str(path)).open_at(position)
    assert [*found, *lines_of(again, 20)] == ["one", "two ü", "three", "four", "five"]
    again.close()


def test_a_file_that_is_gone_is_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    append(path, "one\n")
    reader = FollowSource(str(path)).open()
    reader.read(1)
    position = reader.position()
    (tmp_path / "other").write_text("it keeps the inode of the first from being given again")
    path.rename(tmp_path / "elsewhere")
    append(path, "two\n")
    reader.close()
    with pytest.raises(SourceUnreadable, match=r"what was read of .* before is not there any more"):
        FollowSource(str(path)).open_at(position)


def test_what_is_no_text_is_named_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_bytes(b"one\n\xff\n")
    reader = FollowSource(str(tmp_path / "app.log")).open()
    with pytest.raises(SourceUnreadable, match="is not UTF-8: byte 0xff at offset 4"):
        reader.read(1)
    reader.close()
    with pytest.raises(SourceUnreadable, match="cannot be read"):
        FollowSource(str(tmp_path / "no.log")).open()


def test_a_flow_reads_what_it_is_the_cause_of_until_it_is_cancelled(tmp_path: Path) -> None:
    path, target = tmp_path / "app.log", 20
    append(path, "0\n")
    flow = sage.Flow("follow")
    numbers = flow.read_text(path, follow=True).map(int)
    numbers.for_each(lambda number: append(path, f"{number + 1}\n") if number < target else stop())
    with sage.connect() as cluster:
        job = cluster.submit(flow)

        def stop() -> None:
            raise StopFollowing

        with pytest.raises(sage.SageError, match="StopFollowing"):
            job.wait(timeout_s=60)
    assert path.read_text().split() == [str(number) for number in range(target + 1)]


class StopFollowing(Exception):
    pass


@pytest.mark.parametrize("path", ["memory://a.log", "a.log.gz"])
def test_only_plain_files_here_are_followed(path: str) -> None:
    with pytest.raises(FlowInvalid, match="a file that grows is on this machine and not packed"):
        sage.Flow("f").read_text(path, follow=True)
