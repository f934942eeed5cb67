"""The records that `sage-benchmark wire` sends between our ends. Knows no transport."""

from typing import Any

import msgspec

from benchmarks.wire_fields import records_with
from benchmarks.wire_wanted import WireWorkload
from cluster.runtime.record_types import RecordTypes


class WireEvent(msgspec.Struct):
    """A record of the workload `struct`."""

    id: int
    key: str
    ts: int
    value: float
    text: str


TYPES = RecordTypes({"WireEvent": WireEvent})


def records_of(workload: WireWorkload, num: int) -> list[Any]:
    """Return `num` records; the same in every process."""
    return records_with(WireEvent, workload, num)


def len_record_bytes(records: list[Any]) -> float:
    """Return how long a record is on average as plain MessagePack."""
    return len(msgspec.msgpack.encode(records)) / len(records)
