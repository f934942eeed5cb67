"""What killed runs leave beside a file goes when it is written again; what lives, or may be gone on with, stays."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sage.base.errors import SinkUnwritable
from sage.flow.partial_file import begin_file, resume_file

_KILLED = """
import os, signal, sys
from sage.flow.partial_file import begin_file
file = begin_file(sys.argv[1])
file.write(b"some")
if sys.argv[2] == "saved":
    file.written()
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(path: Path, when: str) -> None:
    assert subprocess.run([sys.executable, "-c", _KILLED, str(path), when], check=False).returncode == -9


def test_what_a_killed_run_began_is_removed_when_the_file_is_begun_again(tmp_path: Path) -> None:
    killed(tmp_path / "out", "begun")
    [left] = os.listdir(tmp_path)
    file = begin_file(str(tmp_path / "out"))
    [begun] = os.listdir(tmp_path)
    assert begun != left
    file.write(b"all")
    file.close(complete=True)
    assert os.listdir(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"all"


def test_what_a_checkpoint_may_count_on_stays(tmp_path: Path) -> None:
    killed(tmp_path / "out", "saved")
    begin_file(str(tmp_path / "out")).close(complete=False)
    [left] = os.listdir(tmp_path)
    assert left.endswith(".partial")


def test_what_another_run_writes_now_stays_and_so_does_what_is_of_other_files(tmp_path: Path) -> None:
    killed(tmp_path / "other", "begun")
    killed(tmp_path / "out.begun", "begun")
    strangers = set(os.listdir(tmp_path))
    first, second = begin_file(str(tmp_path / "out")), begin_file(str(tmp_path / "out"))
    assert len(os.listdir(tmp_path)) == len(strangers) + 2
    for file in (first, second):
        file.write(b"x")
        file.close(complete=True)
    assert set(os.listdir(tmp_path)) == {*strangers, "out"}


def test_a_writing_that_was_kept_is_gone_on_with_under_its_name(tmp_path: Path) -> None:
    file = begin_file(str(tmp_path / "out"))
    file.write(b"one ")
    saved = file.written()
    assert saved.settle is not None
    saved.settle()
    file.write(b"lost")
    file.close(complete=False)
    again = resume_file(str(tmp_path / "out"), saved.position)
    again.write(b"two")
    again.close(complete=True)
    assert (tmp_path / "out").read_bytes() == b"one two"
    assert os.listdir(tmp_path) == ["out"]


def test_a_writing_that_had_ended_and_is_gone_on_with_again_and_again_leaves_no_copy(tmp_path: Path) -> None:
    file = begin_file(str(tmp_path / "out"))
    file.write(b"one ")
    saved = file.written()
    file.write(b"two")
    file.close(complete=True)
    for _ in range(2):
        resume_file(str(tmp_path / "out"), saved.position).close(complete=False)
        assert os.listdir(tmp_path) == ["out"]
    again = resume_file(str(tmp_path / "out"), saved.position)
    again.write(b"three")
    again.close(complete=True)
    assert (tmp_path / "out").read_bytes() == b"one three"
    os.truncate(tmp_path / "out", 2)
    with pytest.raises(SinkUnwritable, match="is gone"):
        resume_file(str(tmp_path / "out"), saved.position)
    file = begin_file(str(tmp_path / "short"))
    file.write(b"all")
    short = file.written().position
    file.close(complete=True)
    os.truncate(tmp_path / "short", 2)
    with pytest.raises(SinkUnwritable, match="is shorter than the 3 bytes"):
        resume_file(str(tmp_path / "short"), short)
    assert sorted(os.listdir(tmp_path)) == ["out", "short"]


class SyncOnce:
    """The first file that is brought to the disk does not come there; the system says so once, and forgets."""

    def __init__(self) -> None:
        self.num_calls = 0

    def __call__(self, number: int) -> None:
        self.num_calls += 1
        if self.num_calls == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_file_that_did_not_come_to_the_disk_once_is_counted_on_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = begin_file(str(tmp_path / "out"))
    file.write(b"one ")
    first = file.written()
    assert first.settle is not None
    first.settle()
    file.write(b"lost")
    second, third = file.written(), file.written()
    assert second.settle is not None
    assert third.settle is not None
    monkeypatch.setattr(os, "fdatasync", SyncOnce())
    for settle in (second.settle, third.settle):
        with pytest.raises(SinkUnwritable, match="out cannot be written: Input/output error"):
            settle()
    with pytest.raises(SinkUnwritable, match="Input/output error"):
        file.written()
    with pytest.raises(SinkUnwritable, match="Input/output error"):
        file.close(complete=True)
    assert not (tmp_path / "out").exists()
    again = resume_file(str(tmp_path / "out"), first.position)
    again.write(b"two")
    again.close(complete=True)
    assert (tmp_path / "out").read_bytes() == b"one two"
