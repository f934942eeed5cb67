"""Options by which commands keep what a flow holds, and go on from it. Knows nothing of how that is done."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sage.flow.checkpoint import Checkpoint

EVERY_S = 1.0


class ResumeChoice(StrEnum):
    """What a run does where there is a checkpoint of its flow, or none."""

    AUTO = "auto"
    MUST = "must"
    NEVER = "never"


class StateChoice(StrEnum):
    """Where the state of keys is while a flow runs."""

    MEMORY = "memory"
    ROCKSDB = "rocksdb"


CheckpointFolder = Annotated[
    str | None,
    typer.Option("--checkpoint", metavar="FOLDER", help="Take checkpoints there, and go on from its newest."),
]
EveryS = Annotated[float, typer.Option("--every-s", min=0.01, help="With --checkpoint: seconds between two.")]
Savepoint = Annotated[
    str | None,
    typer.Option("--savepoint", metavar="FOLDER", help="With --checkpoint: begin there, if it has none to go on from."),
]
ResumeOption = Annotated[
    ResumeChoice, typer.Option("--resume", help="With --checkpoint: go on if there is one, insist on one, or forget.")
]
DropOption = Annotated[
    list[str] | None,
    typer.Option(
        "--drop",
        metavar="STEP",
        help="With --checkpoint: a step that is gone or keeps something else now, or STEP.STATE of a process that "
        "declares it no more: what it held may be lost. May be repeated.",
    ),
]
StateOption = Annotated[
    StateChoice,
    typer.Option("--state", help="With --checkpoint: where the state of keys is while the flow runs."),
]


def checkpoint_of(
    folder: str | None,
    every_s: float,
    savepoint: str | None,
    resume: ResumeChoice,
    state: StateChoice,
    drop: Sequence[str] = (),
) -> "Checkpoint | None":
    """Return what a user asks for; raises BadParameter for what means nothing without a folder."""
    if folder is not None:
        from sage.flow.checkpoint import Checkpoint

        return Checkpoint(folder, every_s=every_s, savepoint=savepoint, state=state.value, drop=tuple(drop))
    for name, is_given in (
        ("--every-s", every_s != EVERY_S),
        ("--savepoint", savepoint is not None),
        ("--resume", resume is not ResumeChoice.AUTO),
        ("--state", state is not StateChoice.MEMORY),
        ("--drop", bool(drop)),
    ):
        if is_given:
            raise typer.BadParameter("it goes with --checkpoint", param_hint=name)
    return None
