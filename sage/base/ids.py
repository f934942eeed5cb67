"""Names of things that travel: jobs, tasks, requests, engines. Knows nothing of what they name."""

from random import Random
from typing import NewType

JobId = NewType("JobId", str)
NodeId = NewType("NodeId", str)
TaskId = NewType("TaskId", str)
RequestId = NewType("RequestId", str)
EngineId = NewType("EngineId", str)

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


def new_id(prefix: str, rng: Random, *, num_chars: int = 16) -> str:
    """Return `prefix-` and `num_chars` characters of base 36 drawn from `rng` (16 characters: 82 bits)."""
    return f"{prefix}-{''.join(rng.choices(_ALPHABET, k=num_chars))}"
