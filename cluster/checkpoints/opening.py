"""What a run of a flow begins with: nothing, or a checkpoint that fits it. Knows neither actors nor jobs."""

import re
from dataclasses import dataclass
from hashlib import sha256

from cluster.checkpoints.fitting import check_fit
from cluster.checkpoints.folder import CheckpointFolder, FoundCheckpoints, newest_name
from cluster.checkpoints.letters import NO_LETTERS, HeldLetters, letters_held
from cluster.checkpoints.manifest import manifest_name
from sage.base.errors import CheckpointUnusable
from sage.flow.checkpoint import Resume
from sage.flow.graph import Graph


@dataclass(frozen=True, slots=True)
class Beginning:
    """`begins_at`: the checkpoint from which a run goes on, None for the start; `next_id`: the number of its first.

    `notes` are for people: what was passed over, and why. `letters`: those that the checkpoint holds. `lost`: the steps
    of the flow that begin with nothing all the same.
    """

    begins_at: int | None
    next_id: int
    notes: tuple[str, ...]
    letters: HeldLetters = NO_LETTERS
    lost: tuple[str, ...] = ()


def folder_name(flow: str) -> str:
    """Return the name of the folder in which the checkpoints of a flow are: readable, and one for each name."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", flow).strip(".-")[:60]
    return plain if plain == flow and plain else f"{plain or 'flow'}-{sha256(flow.encode()).hexdigest()[:8]}"


def beginning(graph: Graph, folder: CheckpointFolder, resume: Resume, dropped: tuple[str, ...]) -> Beginning:
    """Return what a run begins with; nobody else may write to `folder`. Reads all of the newest checkpoint.

    `dropped`: steps that are no more, or keep something else now, and states of processes: they may be lost. Raises
    CheckpointUnusable where there must be a checkpoint and is none, where all there are are corrupt, where the newest
    is and sinks of two phases have shown what it held, or where steps have lost their state's home or would misread it.
    """
    found = folder.find()
    if resume == "never":
        folder.clear()
        return Beginning(None, found.next_id, ())
    if found.newest is None:
        _refuse_nothing(graph, found, resume)
        folder.sweep()
        return Beginning(None, found.next_id, ())
    _refuse_to_show_again(graph, found, found.newest.checkpoint_id)
    lost = check_fit(graph, found.newest, folder, dropped)
    for checkpoint_id in found.bad:
        folder.set_aside(checkpoint_id)
    folder.sweep()
    newest = found.newest.checkpoint_id
    notes = tuple(f"checkpoint {bad} is passed over for {newest}: {why}" for bad, why in found.bad.items())
    return Beginning(newest, found.next_id, notes, letters_held(folder, found.newest), lost)


def _refuse_nothing(graph: Graph, found: FoundCheckpoints, resume: Resume) -> None:
    if found.bad:
        raise CheckpointUnusable(
            f"no checkpoint of flow {graph.name!r} is good: {_whys(found)}",
            'Bring the files back, or begin anew: resume="never".',
        )
    if resume == "must":
        raise CheckpointUnusable(
            f"there is no checkpoint of flow {graph.name!r} to resume from",
            'Check the folder and the flow\'s name, or let it begin anew: resume="auto".',
        )


def _refuse_to_show_again(graph: Graph, found: FoundCheckpoints, newest: int) -> None:
    """Refuse an older checkpoint to sinks that have shown for good what newer ones held: it would be written again."""
    if found.bad and found.is_committed:
        raise CheckpointUnusable(
            f"checkpoint {newest} of flow {graph.name!r} is the newest that is good, and sinks of two phases have "
            f"shown what came after it: {_whys(found)}",
            f"Bring the files back. Or remove {', '.join(_names_of_bad(found))} from the folder: the flow "
            f"then goes on from checkpoint {newest}, and these sinks may show records twice.",
        )


def _names_of_bad(found: FoundCheckpoints) -> list[str]:
    marks = [newest_name(found.marked)] if found.marked in found.bad else []
    return [*map(manifest_name, found.bad), *marks]


def _whys(found: FoundCheckpoints) -> str:
    return "; ".join(f"checkpoint {bad}: {why}" for bad, why in found.bad.items())
