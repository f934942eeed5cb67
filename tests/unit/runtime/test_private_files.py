"""Files that this user alone may open: refused where others may, and whole or absent."""

import os
import stat
from pathlib import Path

import pytest

from cluster.runtime.private_files import (
    check_private_directory,
    locked,
    make_private_directory,
    read_private,
    write_private,
)
from sage.base.errors import KeysUnsafe


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_private_directory(tmp_path / "a" / "keys")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_and_its_files_are_for_their_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = make_private_directory(tmp_path / "keys")
        write_private(folder / "a", b"1")
    finally:
        os.umask(before)
    assert (mode_of(folder), mode_of(folder / "a")) == (0o700, 0o600)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o602, 0o610])
def test_a_file_open_to_others_is_refused_with_what_to_do(folder: Path, mode: int) -> None:
    write_private(folder / "a", b"1")
    (folder / "a").chmod(mode)
    with pytest.raises(KeysUnsafe, match="open to other users") as raised:
        read_private(folder / "a")
    assert f"chmod 600 {folder / 'a'}" in raised.value.do
    assert f"{mode:04o}" in raised.value.what


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o701])
def test_a_folder_open_to_others_is_neither_used_nor_written_to(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    for attempt in (lambda: make_private_directory(folder), lambda: write_private(folder / "a", b"1")):
        with pytest.raises(KeysUnsafe, match="chmod 700"):
            attempt()
    assert not list(folder.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_another_user_is_refused(folder: Path) -> None:
    write_private(folder / "a", b"1")
    os.chown(folder / "a", 12345, -1)
    with pytest.raises(KeysUnsafe, match="belongs to user id 12345"):
        read_private(folder / "a")


def test_a_missing_file_is_none_and_a_missing_folder_an_error(folder: Path) -> None:
    assert read_private(folder / "a") is None
    with pytest.raises(KeysUnsafe, match="cannot be looked at"):
        check_private_directory(folder / "b")


def test_a_file_where_a_folder_should_be_is_refused(folder: Path) -> None:
    write_private(folder / "a", b"1")
    with pytest.raises(KeysUnsafe, match="no folder"):
        make_private_directory(folder / "a")


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(folder: Path) -> None:
    assert write_private(folder / "a", b"1")
    with (folder / "a").open("rb") as reader:
        assert write_private(folder / "a", b"22")
        assert reader.read() == b"1"
    assert read_private(folder / "a") == b"22"
    assert [path.name for path in folder.iterdir()] == ["a"]


def test_without_replace_the_first_writer_wins(folder: Path) -> None:
    assert write_private(folder / "a", b"1", replace=False)
    assert not write_private(folder / "a", b"2", replace=False)
    assert read_private(folder / "a") == b"1"
    assert [path.name for path in folder.iterdir()] == ["a"]


def test_a_lock_that_is_held_is_waited_for_with_a_deadline(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.runtime.private_files._LOCK_TIMEOUT_S", 0.05)
    with locked(folder / "a"), pytest.raises(KeysUnsafe, match="locked by another"), locked(folder / "a"):
        raise AssertionError("two hold it")
    with locked(folder / "a"):
        assert mode_of(folder / "a.lock") == 0o600
