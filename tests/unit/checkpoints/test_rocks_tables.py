"""Tables in RocksDB: laid down, or not; closed, and damaged."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from cluster.checkpoints.disk import STAGED
from cluster.checkpoints.rocks import RocksTable
from cluster.checkpoints.rows import RowCodec
from cluster.runtime.record_types import RecordTypes
from sage.base.errors import CheckpointUnusable, DiskFull, InternalError
from tests.unit.checkpoints.tables import flip, opened
from tests.unit.full_disk import files_of_at_most

TYPES = RecordTypes()


def test_the_library_makes_a_table_where_one_that_was_cut_off_is_looked_for(tmp_path: Path) -> None:
    """It clears that place first: so it shows which place that is."""
    table, staged = opened(tmp_path), tmp_path / f"one-1{STAGED}"
    staged.mkdir()
    (staged / "left").write_text("of a process that was killed")
    table.lay_down().settle()
    assert not staged.exists()
    table.close()


def test_a_table_that_is_closed_is_not_opened_again(tmp_path: Path) -> None:
    table = opened(tmp_path)
    table.write([(1, "one")], [])
    table.close()
    uses: list[Callable[[], object]] = [
        lambda: table.get(1, None),
        lambda: table.write([(2, "two")], []),
        lambda: table.write_due([(b"1", 1, None)], []),
        lambda: table.due(b"", 1),
        lambda: list(table.after(b"")),
        table.lay_down,
    ]
    for use in uses:
        with pytest.raises(InternalError, match="is closed"):
            use()
    table.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_table_that_cannot_be_laid_down_costs_its_checkpoint_alone(tmp_path: Path, *, is_closed: bool) -> None:
    table = opened(tmp_path)
    table.write([(1, "one")], [])
    (tmp_path / "one-1.store").write_text("in the way")
    failed = table.lay_down()
    table.write([(2, "two")], [])
    if is_closed:
        table.close()
    with pytest.raises(CheckpointUnusable, match=r"RocksDB cannot work in .*one-1\.store"):
        failed.settle()
    if is_closed:
        return
    good = table.lay_down()
    good.settle()
    table.close()
    again = opened(tmp_path, "again")
    again.take_up([(str(tmp_path / good.stored[0][0]), 1)])
    assert {key: row for _, key, row in again.after(b"")} == {1: "one", 2: "two"}
    again.close()


def test_a_table_for_which_there_was_no_room_is_used_no_more_and_takes_none_once_closed(tmp_path: Path) -> None:
    table, rng = opened(tmp_path), Random(1)
    table.write([(number, rng.randbytes(1_000)) for number in range(200)], [])
    with files_of_at_most(64_000):
        with pytest.raises(DiskFull, match=f"disk full at {tmp_path}"):
            table.lay_down().settle()
        with pytest.raises(DiskFull):
            table.lay_down()
        with suppress(Exception):  # the library's own: what it holds has no room
            table.close()
    assert not list(tmp_path.glob("*.live"))


def damaged(folder: Path) -> Path:
    """Return a table that was laid down, and most of whose blocks a disk has changed since."""
    table = opened(folder, "before")
    table.write([(number, "v" * 500) for number in range(5000)], [])
    table.write_due([(b"%08d" % number, number, "timer") for number in range(5000)], [])
    laid = table.lay_down()
    laid.settle()
    table.close()
    store = folder / laid.stored[0][0]
    flip(store)
    return store


def test_rows_that_cannot_be_read_are_said_and_not_passed_over(tmp_path: Path) -> None:
    stored = [(str(damaged(tmp_path)), 1)]
    whole = opened(tmp_path, "whole")
    whole.take_up(stored)
    for read in (lambda: whole.get(3, None), lambda: list(whole.after(b"")), lambda: whole.due(b"", 5000)):
        with pytest.raises(CheckpointUnusable, match="cannot be read: "):
            read()
    whole.close()
    half = RocksTable(str(tmp_path), "half", RowCodec(TYPES, "step"), instance=0, num_instances=2)
    with pytest.raises(CheckpointUnusable, match="cannot be read: "):
        half.take_up(stored)
    half.close()
