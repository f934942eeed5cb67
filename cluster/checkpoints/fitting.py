"""Whether a flow can go on with what its steps held. Knows nothing of what runs."""

from cluster.checkpoints.folder import CheckpointFolder
from cluster.checkpoints.manifest import Manifest
from cluster.checkpoints.sections import steps_in_piece
from sage.base.errors import CheckpointUnusable, FlowInvalid
from sage.flow.graph import Graph
from sage.flow.state_form import forms_of, misfit, undeclared


def check_fit(graph: Graph, manifest: Manifest, folder: CheckpointFolder, dropped: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse to lose what steps held that are not in the flow any more, or to read it as something else.

    Return the steps of the flow that are to begin with nothing, since what they held may be lost. Raises FlowInvalid
    where what is to be dropped would fit, unless the run that took the checkpoint has dropped it already.
    """
    if manifest.flow != graph.name:
        raise CheckpointUnusable(
            f"the checkpoint is of flow {manifest.flow!r}, and this is {graph.name!r}", "Give each flow its own folder."
        )
    held, names = _held(manifest, folder), {step.name for step in graph.steps}
    if homeless := sorted(held - names - set(dropped)):
        raise CheckpointUnusable(
            f"checkpoint {manifest.checkpoint_id} holds what step {homeless[0]!r} held, and the flow has no such step",
            f'Name the step so again: .named("{homeless[0]}"), or {_drop(homeless[0])}.',
        )
    forms = forms_of(graph.steps)
    reasons = {name: misfit(manifest.forms.get(name), forms.get(name)) for name in sorted(held & names)}
    misfits = {name: why for name, why in reasons.items() if why is not None}
    if kept := sorted((set(dropped) & names) - misfits.keys() - set(manifest.dropped)):
        raise FlowInvalid(
            f"step {kept[0]!r} is in the flow, and goes on with its state: that cannot be dropped",
            "Name steps that are gone, or that keep something else now; a step begins anew under another name.",
        )
    for name, why in misfits.items():
        if name not in dropped:
            raise CheckpointUnusable(
                f"step {name!r} {why}: it would misread checkpoint {manifest.checkpoint_id}",
                f"Make the step as it was, or {_drop(name)}.",
            )
    _refuse_to_forget(graph, manifest, dropped, held - misfits.keys())
    return tuple(misfits)


def _held(manifest: Manifest, folder: CheckpointFolder) -> set[str]:
    pieces = [piece for task in manifest.tasks for piece in task.pieces if not piece.is_store]
    return {name for piece in pieces for name in steps_in_piece(folder.piece(piece))}


def _refuse_to_forget(graph: Graph, manifest: Manifest, dropped: tuple[str, ...], held: set[str]) -> None:
    """Refuse to lose a state that a process declares no more: it may have been renamed."""
    for name, form in forms_of(graph.steps).items():
        if name not in held:
            continue
        for state in undeclared(manifest.forms.get(name), form):
            if f"{name}.{state}" not in dropped:
                raise CheckpointUnusable(
                    f"checkpoint {manifest.checkpoint_id} holds the state {state!r} of step {name!r}, and its process "
                    "declares no such state",
                    f"Call it {state!r} again, or {_drop(f'{name}.{state}')}.",
                )


def _drop(name: str) -> str:
    return f'let its state go: sage.Checkpoint(..., drop=("{name}",)), or --drop "{name}"'
