"""What a machine is lent by whoever builds it. Knows nothing of the machines."""

from dataclasses import dataclass
from random import Random

from operators.index import IndexStore
from operators.turns import ChatTurns, NoTurns
from sage.base.ids import TaskId


@dataclass(frozen=True, slots=True)
class Context:
    """`rng` draws request ids: two tasks must not share one. Batches made here hold up to `batch_records`.

    `turns`: where chat requests of the job come from and are answered.
    """

    task_id: TaskId
    rng: Random
    indexes: IndexStore
    batch_records: int = 1000
    turns: ChatTurns = NoTurns()  # noqa: RUF009 - it has no state
