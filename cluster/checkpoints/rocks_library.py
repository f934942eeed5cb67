"""RocksDB as tables need it: how a data base is set up, read in order and copied, and what its errors mean.

Knows no row.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

from sage.base.errors import CheckpointUnusable, SageError
from sage.base.full_disk import disk_full, is_full

MEMTABLE_BYTES = 2 << 20
BLOCK_CACHE_BYTES = 4 << 20
_FLUSH_TIMEOUT_S = 60.0
_PENDING = ("mem-table-flush-pending", "num-running-flushes", "num-immutable-mem-table")


def between(database: Any, begin: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Raises CheckpointUnusable where a row cannot be read: the library's own iterators end there as at the last."""
    rows = database.iter()
    rows.seek(begin)
    while rows.valid():
        row_key = rows.key()
        if row_key >= end:
            return
        yield row_key, rows.value()
        rows.next()
    try:
        rows.status()
    except Exception as error:  # the library raises nothing narrower
        raise unreadable(Path(database.path()), error) from error


def flush(database: Any) -> None:
    """Bring all that was written into files. Raises TimeoutError, and what the library raises.

    It is waited for elsewhere than in the library, which holds all of Python while it lays a table down: roughly half
    a second with a flush in it, some milliseconds without.
    """
    database.flush(False)
    _wait(lambda: _is_flushed(database))


def _is_flushed(database: Any) -> bool:
    """Raises what the library raises: once a write has failed, it is pending for ever, and only a flush says why."""
    if not any(database.property_int_value(f"rocksdb.{each}") for each in _PENDING):
        return True
    if database.property_int_value("rocksdb.background-errors"):
        database.flush(True)
    return False


def _wait(is_done: Callable[[], bool]) -> None:
    """Raises TimeoutError."""
    due_s, never = monotonic() + _FLUSH_TIMEOUT_S, Event()
    while not is_done():
        if monotonic() > due_s:
            raise TimeoutError(f"not flushed within {_FLUSH_TIMEOUT_S:g} s")
        never.wait(0.001)


def linked(source: Path, target: Path) -> None:
    """Copy a table: by links to what never changes, where both are on one file system."""
    target.mkdir(parents=True, mode=0o700)
    with os.scandir(source) as entries:
        for entry in entries:
            if not entry.name.endswith(".sst"):
                shutil.copyfile(entry.path, target / entry.name)
                continue
            try:
                os.link(entry.path, target / entry.name)
            except OSError:
                shutil.copyfile(entry.path, target / entry.name)


def options_of(rocks: Any) -> Any:
    options = rocks.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(MEMTABLE_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_max_open_files(256)
    options.set_keep_log_file_num(1)
    options.set_target_file_size_base(16 << 20)
    blocks = rocks.BlockBasedOptions()
    blocks.set_block_cache(rocks.Cache(BLOCK_CACHE_BYTES))
    blocks.set_bloom_filter(10, False)
    options.set_block_based_table_factory(blocks)
    return options


def broken(path: Path, error: Exception) -> SageError:
    """Return what to tell users: DiskFull where room would help."""
    if is_full(error):
        return disk_full(str(path.parent), error)
    return CheckpointUnusable(
        f"RocksDB cannot work in {path}: {error}", "Check the folder, its permissions and its room, and the library."
    )


def unreadable(path: Path, error: Exception) -> SageError:
    """Return what to tell users: DiskFull where a copy of it has no room."""
    if is_full(error):
        return disk_full(str(path.parent), error)
    return CheckpointUnusable(
        f"rows of the table {path} cannot be read: {error}",
        'Resume from an older checkpoint, or begin anew: resume="never".',
    )
