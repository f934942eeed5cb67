"""Rows in a data base of RocksDB: how their keys are ordered, and how they are read and written. Knows no disk.

    k  key group  key           the row of a key
    p  pane  key group  key     the row of a key in a pane
    t  time  ...                what is due, in the order of times

A key group is a byte, a pane eight.
"""

from collections.abc import Collection, Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from xxhash import xxh3_64_intdigest

from cluster.checkpoints.rocks_library import between, unreadable
from cluster.checkpoints.rows import RowCodec
from operators.keycode import bytes_of_key
from operators.partition import NUM_KEY_GROUPS, instance_of_hash, place_of_key
from operators.tables import PlacedRow

ROWS, PANES, DUE, END = b"k", b"p", b"t", b"u"
_LEN_PANE = 8
_FIRST_PANE = -(1 << 63)


class Database(Protocol):
    """A data base that is opened when it is first used. Used by one thread."""

    live: Path

    def opened(self) -> Any:
        """Return what the library opened."""
        ...

    def new_batch(self) -> Any: ...

    def apply(self, batch: Any) -> None:
        """Write a batch; raises CheckpointUnusable."""
        ...


class RocksRows:
    """Rows by their keys."""

    def __init__(self, database: Database, codec: RowCodec) -> None:
        self._database = database
        self._codec = codec

    def get(self, key: Hashable, default: Any) -> Any:
        row_key, opened = self._row_key(key), self._database.opened()
        try:
            found = opened.get(row_key)
        except Exception as error:  # the library raises nothing narrower
            raise unreadable(self._database.live, error) from error
        return default if found is None else self._codec.decode(found)[1]

    def write(self, rows: Iterable[tuple[Hashable, Any]], gone: Collection[Hashable]) -> int:
        encode, num_bytes = self._codec.encode, 0
        batch = self._database.new_batch()
        for key, value in rows:
            row = encode(key, value)
            num_bytes += len(row)
            batch.put(self._row_key(key), row)
        for key in gone:
            batch.delete(self._row_key(key))
        self._database.apply(batch)
        return num_bytes

    def after(self, place: bytes) -> Iterator[PlacedRow]:
        return self._placed(ROWS, place, PANES)

    def _placed(self, begin: bytes, place: bytes, end: bytes) -> Iterator[PlacedRow]:
        """Return the rows after a place, of those whose keys begin with `begin`: that is no part of their places."""
        decode, first = self._codec.decode, begin + place + b"\0" if place else begin
        for row_key, row in between(self._database.opened(), first, end):
            key, value = decode(row)
            yield row_key[len(begin) :], key, value

    def _row_key(self, key: Hashable) -> bytes:
        return ROWS + place_of_key(key)


class RocksPanes(RocksRows):
    """Rows by `(pane, key)`."""

    def after(self, place: bytes) -> Iterator[PlacedRow]:
        return self._placed(PANES, place, DUE)

    def numbers(self) -> list[int]:
        found: list[int] = []
        begin = PANES
        while (row := next(between(self._database.opened(), begin, DUE), None)) is not None:
            found.append(int.from_bytes(row[0][1 : 1 + _LEN_PANE], "big") + _FIRST_PANE)
            begin = _end_of(found[-1])
        return found

    def of_pane(self, pane: int, place: bytes) -> Iterator[PlacedRow]:
        rows = self._placed(_begin_of(pane), place, _end_of(pane))
        return ((at, _parted(pair)[1], value) for at, pair, value in rows)

    def forget(self, pane: int) -> None:
        batch = self._database.new_batch()
        batch.delete_range(_begin_of(pane), _end_of(pane))
        self._database.apply(batch)

    def _row_key(self, key: Hashable) -> bytes:
        pane, own = _parted(key)
        return _begin_of(pane) + place_of_key(own)


def _parted(key: Hashable) -> tuple[int, Hashable]:
    """Return the pane and the key of what is the key of a row of a pane."""
    assert isinstance(key, tuple)
    pane, own = key
    return pane, own


def _begin_of(pane: int) -> bytes:
    return PANES + (pane - _FIRST_PANE).to_bytes(_LEN_PANE, "big")


def _end_of(pane: int) -> bytes:
    """Return where the next pane begins."""
    return _begin_of(pane + 1)


def instance_of_row(row_key: bytes, row: bytes, codec: RowCodec, num_instances: int) -> int:
    """Return which instance has the key of a row, or of what is due."""
    kind = row_key[:1]
    if kind != DUE and num_instances <= NUM_KEY_GROUPS:
        group = row_key[1] if kind == ROWS else row_key[1 + _LEN_PANE]
        return instance_of_hash(group, num_instances)
    key, _ = codec.decode(row)
    own = _parted(key)[1] if kind == PANES else key
    return instance_of_hash(xxh3_64_intdigest(bytes_of_key(own)), num_instances)
