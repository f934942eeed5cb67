"""Reads sources to their end in tests, and again from each of their positions."""

from typing import Any

import msgspec

from sage.flow.ports import RewindableSource, Source


def read_all(source: Source[Any], max_records: int = 2) -> list[Any]:
    """Return all records, read in small batches."""
    return rest_of(source.open(), max_records)


def rest_of(reader: Any, max_records: int = 2) -> list[Any]:
    """Return what a reader still gives, and close it."""
    found: list[Any] = []
    while (batch := reader.read(max_records)) is not None:
        assert len(batch) <= max_records
        found.extend(batch)
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
