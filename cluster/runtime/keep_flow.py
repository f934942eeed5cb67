"""How a flow takes checkpoints, as it travels with the flow. Pure; knows no checkpoint."""

from typing import Literal

import msgspec

from sage.flow.checkpoint import StateKept


class KeepFlow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a flow takes checkpoints, as sage.Checkpoint says it: every node reaches the folders by these paths."""

    folder: str
    every_s: float
    num_kept: int
    timeout_s: float
    drop: tuple[str, ...]
    savepoint: str | None
    resume: Literal["auto", "must", "never"]
    state: StateKept = "memory"
