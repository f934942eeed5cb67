"""Where the flows of Bytewax begin and end. Imports nothing of SAGE."""

from collections.abc import Callable, Sequence
from typing import Any

from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition

Records = Sequence[Any]
Take = Callable[[list[Any]], object]


class BytewaxSource(DynamicSource[Any]):
    """Slices of what is there, a batch a call."""

    def __init__(self, records: Records, batch_records: int) -> None:
        self._records = records
        self._batch_records = batch_records

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "_Reader":
        return _Reader(self._records, self._batch_records)


class _Reader(StatelessSourcePartition[Any]):
    def __init__(self, records: Records, batch_records: int) -> None:
        self._records = records
        self._batch_records = batch_records
        self._at = 0

    def next_batch(self) -> list[Any]:
        if self._at >= len(self._records):
            raise StopIteration
        batch = list(self._records[self._at : self._at + self._batch_records])
        self._at += self._batch_records
        return batch


class BytewaxSink(DynamicSink[Any]):
    """Gives batches to a function."""

    def __init__(self, take: Take) -> None:
        self._take = take

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "_Taker":
        return _Taker(self._take)


class _Taker(StatelessSinkPartition[Any]):
    def __init__(self, take: Take) -> None:
        self._take = take

    def write_batch(self, items: list[Any]) -> None:
        self._take(items)
