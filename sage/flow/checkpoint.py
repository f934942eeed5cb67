"""How a run keeps what it holds, as users say it. Knows nothing of how that is done."""

import os
from dataclasses import dataclass
from typing import Literal, get_args

from sage.flow.check_numbers import above_zero, counts, required
from sage.flow.given import checked_names, checked_path, refuse, refuse_one_text
from sage.flow.where import refusal

Resume = Literal["auto", "must", "never"]
"""`auto`: go on from the newest checkpoint, if there is one; `must`: insist on one; `never`: forget all, begin anew."""

StateKept = Literal["memory", "rocksdb"]
"""Where the state of keys is while a flow runs: in memory, or in RocksDB, by the extra `rocksdb`."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Keep all that a flow holds in a folder, every `every_s` seconds, so that a later run goes on from there.

    Every node must reach the folder by this path. The newest `num_kept` checkpoints stay. One that takes longer than
    `timeout_s` is given up, and the job fails once three in a row were. `drop`: steps that the flow had and has no
    more, or that keep something else now, and states ("step.state") that their process declares no more: what they held
    may be lost. `savepoint`: the folder of one, from which a flow begins that has no checkpoint.

    `state`: "rocksdb" keeps what aggregates, processes, windows and joins hold of keys in tables in the folder, for
    more than memory has room for; "memory" is faster.

    >>> import sage
    >>> sage.Checkpoint("checkpoints", every_s=5.0).num_kept
    3
    """

    folder: str | os.PathLike[str]
    every_s: float = 1.0
    num_kept: int = 3
    timeout_s: float = 60.0
    drop: tuple[str, ...] = ()
    savepoint: str | os.PathLike[str] | None = None
    state: StateKept = "memory"

    def __post_init__(self) -> None:
        """Raises FlowInvalid."""
        if "://" in checked_path(self.folder, "folder"):
            raise refusal(
                f"{self.folder} is no folder of this machine", "Name one that all nodes mount.", param="folder"
            )
        if self.savepoint is not None:
            checked_path(self.savepoint, "savepoint")
        drop: object = self.drop
        if drop != ():
            refuse_one_text(drop, "drop", 'Write drop=("count words",).')
            checked_names(self.drop, "drop", 'Write drop=("count words",).')
        numbers = required(every_s=self.every_s, timeout_s=self.timeout_s, num_kept=self.num_kept)
        refuse((*numbers, *above_zero(every_s=self.every_s, timeout_s=self.timeout_s), *counts(num_kept=self.num_kept)))
        if self.state not in get_args(StateKept):
            raise refusal(f"state is {self.state!r}", 'It is "memory" or "rocksdb".', param="state")


def checked_resume(resume: str, checkpoint: Checkpoint | None) -> Resume:
    """Return `resume` where it means something; raises FlowInvalid, also where `checkpoint` is none."""
    given: object = checkpoint
    if given is not None and not isinstance(given, Checkpoint):
        what = f"checkpoint is {given!r:.80} ({type(given).__name__})"
        raise refusal(what, 'Write checkpoint=sage.Checkpoint("DIR").', param="checkpoint")
    match resume:
        case "auto":
            return "auto"
        case "must" | "never" if checkpoint is None:
            raise refusal(
                f'resume="{resume}" is about checkpoints, and there are none', 'Give checkpoint=sage.Checkpoint("DIR").'
            )
        case "must":
            return "must"
        case "never":
            return "never"
        case _:
            raise refusal(f"resume is {resume!r}", 'It is "auto", "must" or "never".', param="resume")
