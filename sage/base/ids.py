"""Names of things that travel: jobs, tasks, requests, engines. Knows nothing of what they name."""

from collections.abc import Sequence
from typing import NewType, Protocol

JobId = NewType("JobId", str)
NodeId = NewType("NodeId", str)
TaskId = NewType("TaskId", str)
RequestId = NewType("RequestId", str)
EngineId = NewType("EngineId", str)

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


class Rng(Protocol):
    """What draws ids; `random.Random` is one."""

    def choices(self, population: Sequence[str], *, k: int) -> list[str]: ...


def new_id(prefix: str, rng: Rng, *, num_chars: int = 16) -> str:
    """Return `prefix-` and `num_chars` characters of base 36 drawn from `rng` (16 characters: 82 bits)."""
    return f"{prefix}-{''.join(rng.choices(_ALPHABET, k=num_chars))}"
