"""What flows on a stream: batches of records as parallel columns. Knows nothing of steps or transport."""

from collections.abc import Hashable, Sequence
from typing import Any

import msgspec


class Batch(msgspec.Struct, frozen=True):
    """Records in order. `keys`, where the stream is keyed, is as long as `values`: `keys[i]` belongs to `values[i]`.

    So is `timestamps_s`, the event time of each record, where the stream has one. `watermark_s` holds after the last
    of these records: none that follows is older; None is no news. A batch without records may carry one.

    No object per record: an envelope each costs five times the throughput (measured 2026-11-22, W1: ratio 0.20
    against 0.83 to the plain loop). The receiver owns the batch; the sender must not touch it again. A Struct: a frozen
    dataclass takes six times as long to make, and each batch of a task is made anew.
    """

    values: Sequence[Any]
    keys: Sequence[Hashable] | None = None
    timestamps_s: Sequence[float] | None = None
    watermark_s: float | None = None

    def __len__(self) -> int:
        return len(self.values)
