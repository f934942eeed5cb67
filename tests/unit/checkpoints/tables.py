"""Tables in RocksDB as tests need them. Knows no test."""

from pathlib import Path

from cluster.checkpoints.rocks import RocksTable
from cluster.checkpoints.rows import RowCodec
from cluster.runtime.record_types import RecordTypes

TYPES = RecordTypes()


def opened(folder: Path, name: str = "one") -> RocksTable:
    return RocksTable(str(folder), name, RowCodec(TYPES, "step"), instance=0, num_instances=1)


def flip(store: Path) -> None:
    """Let most of each file of rows be other bits."""
    for file in store.glob("*.sst"):
        data = bytearray(file.read_bytes())
        most = slice(200, 6 * len(data) // 10)
        data[most] = bytes(byte ^ 0xFF for byte in data[most])
        file.write_bytes(data)
