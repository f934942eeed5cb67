"""What a rival is asked to compute, and the input of it. Imports nothing of SAGE: a rival's Python reads it."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

Form = tuple[Callable[[], object], Callable[[], object]]
"""One run, which is timed, and what reads its outcome once it has ended."""

NUM_AHEAD = 8
"""How many batches may be on their way between two processes: as many as before a task of ours."""

NUM_WARM_UP = 50
"""How many batches go before time is taken."""


class RivalWanted(NamedTuple):
    """`workload` is named as in results, `num_records` None where its input is whole. `every_s`: from checkpoint to
    checkpoint, or from record to record."""

    engine: str
    workload: str
    num_records: int | None
    seed: int
    batch_records: int
    num_keys: int = 0
    every_s: float = 0.0

    def to_json(self) -> str:
        """Return this as text that travels as an argument.

        >>> RivalWanted.from_json(RivalWanted("bytewax", "W1", 10, 7, 1000).to_json()).workload
        'W1'
        """
        return json.dumps(self)

    @classmethod
    def from_json(cls, text: str) -> "RivalWanted":
        values: list[Any] = json.loads(text)
        return cls(*values)
