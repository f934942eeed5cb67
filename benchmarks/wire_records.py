"""The records that `sage-benchmark wire` sends: about 110 bytes each as MessagePack. Knows no transport."""

from collections.abc import Callable
from typing import Any

import msgspec

from benchmarks.wire_wanted import WireWorkload
from cluster.runtime.record_types import RecordTypes

_TEXT = "the quick brown fox jumps over the lazy dog and some more"


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
    return [_MAKERS[workload](number) for number in range(num)]


def len_record_bytes(records: list[Any]) -> float:
    """Return how long a record is on average as plain MessagePack."""
    return len(msgspec.msgpack.encode(records)) / len(records)


def _event(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "key": f"user{number % 97}",
        "ts": 1_700_000_000_000 + number,
        "value": number * 0.5,
        "text": _TEXT + str(number),
    }


def _nested(number: int) -> dict[str, Any]:
    text = "the quick brown fox jumps over the lazy dog" + str(number)
    return {**_event(number), "text": text, "tags": ["a", "b", "c"], "ok": number % 2 == 0}


_MAKERS: dict[WireWorkload, Callable[[int], Any]] = {
    WireWorkload.EVENT: _event,
    WireWorkload.STRUCT: lambda number: WireEvent(**_event(number)),
    WireWorkload.ROW: lambda number: tuple(_event(number).values()),
    WireWorkload.TEXT: lambda number: f"{_TEXT}, and then all from the beginning: {number:>12}",
    WireWorkload.NESTED: _nested,
}
