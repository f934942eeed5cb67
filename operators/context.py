"""What a machine is lent by whoever builds it. Knows nothing of the machines."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from operators.index import IndexStore
from operators.posts import Listen, nobody_listens
from operators.tables import Tables
from operators.turns import ChatTurns, NoTurns
from sage.base.ids import JobId, TaskId

_NO_JOB = JobId("")


@dataclass(frozen=True, slots=True)
class Context:
    """`rng` draws request ids: two tasks must not share one. Batches made here hold up to `batch_records`.

    `tables`: where steps keep the state of keys that memory has no room for; None: all is held in memory.

    `instance`: which of its step's it is, from 0. `job_id`: whose task it is.
    `unix_s` returns seconds since the epoch. `turns`: where chat requests of the job come
    from and are answered. `listen` reads what is posted to a source.
    """

    task_id: TaskId
    rng: Random
    indexes: IndexStore
    batch_records: int = 1000
    job_id: JobId = _NO_JOB
    unix_s: Callable[[], float] = time.time
    turns: ChatTurns = NoTurns()  # noqa: RUF009 - it has no state
    tables: Tables | None = None
    listen: Listen = nobody_listens
    instance: int = 0
