"""Tables in RocksDB: one data base a step's instance, in the folder of the flow's checkpoints. Knows no step.

    node-x-3.live     a table at work; of no use once its process has ended
    node-x-3-7.store  a table as it was laid down for a checkpoint: never changed; its files are hard links, so that
                      files that have not changed since the checkpoint before are there once

The data base writes no log of its own: what counts is what is laid down.
"""

import shutil
from collections.abc import Collection, Hashable, Iterable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any

from cluster.checkpoints.disk import LIVE, STORE
from cluster.checkpoints.rocks_library import between, broken, flush, linked, options_of, unreadable
from cluster.checkpoints.rocks_rows import DUE, END, ROWS, RocksPanes, RocksRows, instance_of_row
from cluster.checkpoints.rows import RowCodec
from cluster.runtime.record_types import RecordTypes
from operators.tables import DueRow, LaidDown, PlacedRow, Stored
from sage.base.errors import DiskFull, InternalError, SageError
from sage.flow.connectors.extras import library


class RocksTable:
    """The rows of one step's instance. What it lays down is settled by another thread, or before the next write."""

    def __init__(self, folder: str, name: str, codec: RowCodec, *, instance: int, num_instances: int) -> None:
        """`name` is unique in `folder`. Raises ExtraMissing."""
        self._rocks = library("rocksdict", "rocksdb")
        self._folder = Path(folder)
        self._name = name
        self._codec = codec
        self.share = instance, num_instances
        self._rows = RocksRows(self, codec)
        self.panes = RocksPanes(self, codec)
        self._lock = Lock()
        self._pending: str | None = None
        self._not_laid_down: dict[str, SageError] = {}
        self._lost: DiskFull | None = None  # what it held in memory cannot come to the disk any more, room or not
        self._num_laid_down = 0
        self._is_closed = False
        self._unlogged = self._rocks.WriteOptions()
        self._unlogged.disable_wal = True
        self.live = self._folder / f"{name}{LIVE}"
        self._database: Any = None

    def get(self, key: Hashable, default: Any) -> Any:
        return self._rows.get(key, default)

    def write(self, rows: Iterable[tuple[Hashable, Any]], gone: Collection[Hashable]) -> int:
        return self._rows.write(rows, gone)

    def after(self, place: bytes) -> Iterator[PlacedRow]:
        return self._rows.after(place)

    def write_due(self, rows: Iterable[DueRow], done: Iterable[bytes]) -> None:
        batch = self.new_batch()
        for place, key, name in rows:
            batch.put(DUE + place, self._codec.encode(key, name))
        for place in done:
            batch.delete(DUE + place)
        self.apply(batch)

    def due(self, begin: bytes, max_rows: int) -> list[DueRow]:
        found: list[DueRow] = []
        for place, row in between(self.opened(), DUE + begin, END):
            key, name = self._codec.decode(row)
            found.append((place[len(DUE) :], key, name))
            if len(found) == max_rows:
                break
        return found

    def lay_down(self) -> LaidDown:
        """Say where the table will be; nothing is written to it until it is there.

        Raises DiskFull where there was no room before: the library may not recover, and another table has to go on.
        """
        with self._lock:
            self._settle()
            if self._lost is not None:
                raise self._lost
            self._num_laid_down += 1
            name = f"{self._name}-{self._num_laid_down}{STORE}"
            self.opened()
            self._pending = name
        return LaidDown([(name, self.share[1])], lambda: self._settled(name))

    def take_up(self, stored: Stored) -> None:
        """Raises CheckpointUnusable, DiskFull."""
        try:
            if len(stored) == 1 and stored[0][1] == self.share[1]:
                linked(Path(stored[0][0]), self.live)
                return
            for at, (place, _) in enumerate(stored):
                self._take_rows(Path(place), self._folder / f"{self._name}-from-{at}{LIVE}")
        except OSError as error:
            raise unreadable(self.live, error) from error

    def close(self) -> None:
        with self._lock:
            self._settle()
            self._is_closed = True
            database, self._database = self._database, None
            try:
                if database is not None:
                    database.close()
            finally:
                shutil.rmtree(self.live, ignore_errors=True)

    def new_batch(self) -> Any:
        return self._rocks.WriteBatch(raw_mode=True)

    def opened(self) -> Any:
        if self._is_closed:
            raise InternalError(f"the table {self.live} is closed")
        if self._database is None:
            self._database = self._open(self.live)
        return self._database

    def _open(self, path: Path) -> Any:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            return self._rocks.Rdict(str(path), options_of(self._rocks))
        except Exception as error:  # the library raises nothing narrower
            raise broken(path, error) from error

    def apply(self, batch: Any) -> None:
        with self._lock:
            self._settle()
            database = self.opened()
            try:
                database.write(batch, self._unlogged)
            except Exception as error:
                raise broken(self.live, error) from error

    def _settled(self, name: str) -> None:
        with self._lock:
            if self._pending == name:
                self._settle()
            if name in self._not_laid_down:
                raise self._not_laid_down.pop(name)

    def _settle(self) -> None:
        """Lay down what is pending, while nobody writes. Where it cannot be, its checkpoint alone is lost."""
        if self._pending is None:
            return
        name, self._pending = self._pending, None
        try:
            flush(self._database)
            self._rocks.Checkpoint(self._database).create_checkpoint(str(self._folder / name))
        except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
            failed = self._not_laid_down[name] = broken(self._folder / name, error)
            failed.__cause__ = error
            self._lost = failed if isinstance(failed, DiskFull) else self._lost

    def _take_rows(self, place: Path, beside: Path) -> None:
        """Take what is this instance's of a table that was another's."""
        linked(place, beside)
        other = self._open(beside)
        try:
            for rows in self._own_rows(other):
                batch = self.new_batch()
                for row_key, row in rows:
                    batch.put(row_key, row)
                self.apply(batch)
        finally:
            other.close()
            shutil.rmtree(beside, ignore_errors=True)

    def _own_rows(self, other: Any) -> Iterator[list[tuple[bytes, bytes]]]:
        own: list[tuple[bytes, bytes]] = []
        instance, num_instances = self.share
        for row_key, row in between(other, ROWS, END):
            if instance_of_row(row_key, row, self._codec, num_instances) == instance:
                own.append((row_key, row))
            if len(own) == 1_000:
                yield own
                own = []
        yield own


class RocksTables:
    """Makes the tables of one task."""

    def __init__(self, folder: str, prefix: str, types: RecordTypes, *, instance: int, num_instances: int) -> None:
        """`prefix`: that of their names, unique in `folder`."""
        self._folder = folder
        self._prefix = prefix
        self._types = types
        self._instance = instance
        self._num_instances = num_instances
        self._num_opened = 0

    def open(self, step: str) -> RocksTable:
        self._num_opened += 1
        return RocksTable(
            self._folder,
            f"{self._prefix}-{self._num_opened}",
            RowCodec(self._types, step),
            instance=self._instance,
            num_instances=self._num_instances,
        )
