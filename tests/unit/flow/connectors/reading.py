"""Reads sources to their end in tests, and again from each of their positions."""

from pathlib import Path
from typing import Any

import msgspec

from sage.flow.ports import RewindableSource, Source


class FailsOnceKept:
    """A function of records, each taking a moment, that raises once there is a checkpoint in the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._num_seen = 0

    def __call__(self, record: Any) -> Any:
        self._num_seen += 1
        if sum(range(10_000)) and self._num_seen % 20 == 0 and any(self._folder.rglob("*.manifest")):
            raise ValueError(self._num_seen)
        return record


class Counted:
    """A function that gives records as they are, and counts them."""

    def __init__(self) -> None:
        self.num = 0

    def __call__(self, record: Any) -> Any:
        self.num += 1
        return record


def read_all(source: Source[Any], max_records: int = 2) -> list[Any]:
    """Return all records, read in small batches."""
    return rest_of(source.open(), max_records)


def rest_of(reader: Any, max_records: int = 2) -> list[Any]:
    """Return what a reader still gives, and close it."""
    found: list[Any] = []
    try:
        while (batch := reader.read(max_records)) is not None:
            assert len(batch) <= max_records
            found.extend(batch)
    finally:
        reader.close()
    return found


def check_positions(source: RewindableSource[Any], num_records: int, max_records: int = 2) -> None:
    """From wherever a reading was, another gives exactly the rest; positions are plain values that travel."""
    whole = read_all(source)
    assert len(whole) == num_records
    reader: Any = source.open()
    num_read = 0
    while True:
        position = msgspec.msgpack.decode(msgspec.msgpack.encode(reader.position()))
        assert rest_of(source.open_at(position)) == whole[num_read:], position
        batch = reader.read(max_records)
        if batch is None:
            break
        num_read += len(batch)
    reader.close()
