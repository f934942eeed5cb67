"""Run a flow of a Python file, or explain how it would run. Knows nothing of how flows run."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.commands.checkpoint_options import (
    EVERY_S,
    CheckpointFolder,
    DropOption,
    EveryS,
    ResumeChoice,
    ResumeOption,
    Savepoint,
    StateChoice,
    StateOption,
    checkpoint_of,
)
from cluster.commands.show import INTERRUPTED, Json, cache_line, calls_line, print_json
from sage.base.errors import JobTimeout

if TYPE_CHECKING:
    from sage.flow.graph import Graph
    from sage.flow.runner import JobResult


def run(
    target: Annotated[str, typer.Argument(metavar="FILE[:FLOW]", help="A Python file, and which of its flows.")],
    address: Annotated[str | None, typer.Option("--address", help="Where it runs; by default in this process.")] = None,
    timeout_s: Annotated[float | None, typer.Option("--timeout-s", help="Cancel it after so many seconds.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Print how it would run, and run nothing.")] = False,
    checkpoint: CheckpointFolder = None,
    every_s: EveryS = EVERY_S,
    savepoint: Savepoint = None,
    resume: ResumeOption = ResumeChoice.AUTO,
    state: StateOption = StateChoice.MEMORY,
    drop: DropOption = None,
    json: Json = False,
) -> None:
    """Run a flow of a Python file to its end.

    The file is imported, not run as a script: give it flows at its top level. FLOW is a variable or a flow's name.
    """
    from cluster.commands.flow_choice import chosen_flow

    kept = checkpoint_of(checkpoint, every_s, savepoint, resume, state, drop or ())
    graph = chosen_flow(target, "sage run").graph()
    if explain:
        from cluster.commands.explain_flow import explain_flow

        explain_flow(graph, state, is_here=address in (None, "local"), json=json)
        return
    from cluster.commands.pull import ensure_models
    from sage.flow.run import run_graph

    ensure_models(_models_to_pull(graph))
    with waited_for():
        result = run_graph(graph, address, timeout_s=timeout_s, progress=None, checkpoint=kept, resume=resume.value)
    show_result(graph.name, result, json=json)


@contextmanager
def waited_for() -> Iterator[None]:
    """Within it an interrupt ends the command once the job is cancelled, and a job that takes too long says which
    option gives it more time; raises JobTimeout."""
    try:
        yield
    except KeyboardInterrupt as stop:
        print("\n".join(["cancelled", *getattr(stop, "__notes__", ())]), file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from stop
    except JobTimeout as late:
        told = JobTimeout(late.what, "Give it more time by --timeout-s, or leave that out.", param="timeout_s")
        for note in getattr(late, "__notes__", ()):
            told.add_note(note)
        raise told from late


def show_result(flow_name: str, result: "JobResult", *, json: bool) -> None:
    """Print how a job ended well."""
    if json:
        print_json(result)
        return
    counted = f"{result.records_in:,} records in, {result.records_out:,} out, {result.dead_letters:,} dead letters"
    print("\n".join([f"{flow_name} {result.status}: {counted}, {result.duration_s:.2f} s", *result.guarantees]))
    if result.num_replayed or result.num_repeated:
        print(calls_line(result.num_replayed, result.num_repeated))
    if result.num_cached or result.num_unreadable:
        print(cache_line(result.num_cached, result.num_unreadable))


def _models_to_pull(graph: "Graph") -> list[str]:
    """Return the models that `graph` asks, that the catalogue has, and that no engine of the settings serves."""
    from sage.base.catalog import CATALOG
    from sage.base.config import load_settings
    from sage.flow.spec import ModelStep

    asked = [step.spec.model for step in graph.steps if isinstance(step.spec, ModelStep)]
    served = {engine.model for engine in load_settings().engines}
    return [entry.name for entry in CATALOG if entry.name in asked and entry.name not in served]
