"""What the records of `sage-benchmark wire` hold, about 110 bytes each as MessagePack. Imports nothing of SAGE: a
rival's Python reads it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.wire_wanted import WireWorkload

_TEXT = "the quick brown fox jumps over the lazy dog and some more"


@dataclass(slots=True)
class PlainEvent:
    """A record of the workload `struct` for whoever pickles records."""

    id: int
    key: str
    ts: int
    value: float
    text: str


class Tally:
    """Counts what comes. Each batch is looked at, the last one record by record, as by `WireSink`."""

    def __init__(self, expected: list[Any]) -> None:
        self._expected = expected
        self._num_records = 0
        self._is_right = True
        self._last: list[Any] | None = None

    def take(self, batch: list[Any]) -> None:
        self._num_records += len(batch)
        self._is_right &= batch[-1] == self._expected[-1]
        self._last = batch

    def end(self) -> tuple[int, bool]:
        """Return how many records came and whether they were right, and begin anew."""
        found = self._num_records, self._is_right and self._last == self._expected
        self._num_records, self._is_right, self._last = 0, True, None
        return found


def records_with(as_struct: Callable[..., Any], workload: WireWorkload, num: int) -> list[Any]:
    """Return `num` records, the same in every process; `as_struct` makes one of the workload `struct` of its fields."""
    if workload is WireWorkload.STRUCT:
        return [as_struct(**_event(number)) for number in range(num)]
    return [_MAKERS[workload](number) for number in range(num)]


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
    WireWorkload.ROW: lambda number: tuple(_event(number).values()),
    WireWorkload.TEXT: lambda number: f"{_TEXT}, and then all from the beginning: {number:>12}",
    WireWorkload.NESTED: _nested,
}
