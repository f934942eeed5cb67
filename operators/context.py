"""What a machine is lent by whoever builds it. Knows nothing of the machines."""

from dataclasses import dataclass
from random import Random

from operators.index import IndexStore
from sage.base.ids import TaskId


@dataclass(frozen=True, slots=True)
class Context:
    """`rng` draws request ids: two tasks must not share one. Batches made here hold up to `batch_records`."""

    task_id: TaskId
    rng: Random
    indexes: IndexStore
    batch_records: int = 1000
