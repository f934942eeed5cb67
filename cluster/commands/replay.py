"""Run a step again on a record that it failed on, under the debugger. Knows nothing of how flows run."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.commands.show import Json, print_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.jobs.letters import KeptLetter
    from sage.flow.graph import Graph, Step


def replay(
    letter_id: Annotated[
        str | None, typer.Argument(metavar="DEAD_LETTER", help="Its id; without one, the kept ones are listed.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Argument(metavar="FILE[:FLOW]", help="The flow as it is now; by default from the file of the step."),
    ] = None,
    pdb: Annotated[bool, typer.Option("--pdb/--no-pdb", help="Stop in the debugger, or run and print.")] = True,
    json: Json = False,
) -> None:
    """Run the step again that set a record aside, on that record, with the code as it is now.

    The debugger stops at the first line of the step's function: `s` steps, `c` goes on to the error, `q` leaves.
    Exit status 1 where the step fails again.
    """
    from cluster.jobs.letters import LetterFolder, letters_here, record_of
    from sage.base.config import load_settings
    from sage.base.errors import UnknownLetter

    place = letters_here(load_settings())
    if place is None:
        raise UnknownLetter("dead letters are not kept here", "Set jobs.letters_dir to a folder.")
    if letter_id is None:
        return _list(LetterFolder(place).ids(), json=json)
    kept, encoded = LetterFolder(place).open(letter_id)
    step, graph = _step_of(kept, target)
    record = record_of(kept, encoded, graph)
    call = _function_of(step)
    print(f"{kept.letter.step} on {kept.letter.value[:200]}\n{kept.letter.lineage}", file=sys.stderr)
    if pdb and not json:
        _debug(call, record)
    else:
        _run(call, record, step, letter_id, json=json)


def _list(ids: list[str], *, json: bool) -> None:
    if json:
        print_json({"dead_letters": ids})
    else:
        print("\n".join(ids) or "no dead letter is kept here")


def _step_of(kept: "KeptLetter", target: str | None) -> "tuple[Step, Graph]":
    """Return the step of a letter as the flow has it now."""
    from pathlib import Path

    from cluster.commands.flow_choice import chosen_flow
    from cluster.jobs.flow_file import flows_in
    from sage.base.errors import UnknownLetter

    name = kept.letter.step
    if target is None and not Path(kept.file).is_file():
        raise UnknownLetter(f"step {name!r} was written down in {kept.file}, which is no file", f"Name it: {_AGAIN}")
    flows = list(flows_in(Path(kept.file)).values()) if target is None else [chosen_flow(target, "sage replay ID")]
    found = [(step, graph) for graph in (flow.graph() for flow in flows) for step in graph.steps if step.name == name]
    if len(found) != 1:
        what = f"{len(found)} of the {len(flows)} flows at the top level of {target or kept.file} have a step {name!r}"
        raise UnknownLetter(what, f"Name the flow: {_AGAIN}")
    return found[0]


_AGAIN = "sage replay ID FILE:FLOW"


def _function_of(step: "Step") -> "Callable[[Any], Any]":
    """Return what runs the functions that `step` calls with one record."""
    from operators.replaying import replaying
    from sage.base.errors import UnknownLetter
    from sage.flow.kinds import kind_of_step
    from sage.flow.spec import MapAsync, Retrieve, Write

    if isinstance(step.spec, MapAsync):
        import asyncio

        fn = step.spec.fn

        async def called(record: Any) -> Any:
            return await fn(record)

        return lambda record: asyncio.run(called(record))
    call = replaying(step.spec)
    if call is None:
        why = "what it does depends on more than one record"
        if isinstance(step.spec, Retrieve | Write):
            why = (
                "it asks what a run has put into its index"
                if isinstance(step.spec, Retrieve)
                else "it writes whole batches"
            )
        what = f"step {step.name!r} is a {kind_of_step(step.spec)}: {why}"
        raise UnknownLetter(what, "Read its letter: job.dead_letters(), or sage-cluster dead-letters JOB.")
    return call


def is_of_python(file: str) -> bool:
    """Say whether code is part of Python itself; packages that are installed beside it are not."""
    import sysconfig

    is_beside = not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)
    return file.startswith("<") or (file.startswith(sysconfig.get_paths()["stdlib"]) and not is_beside)


def _debug(call: "Callable[[Any], Any]", record: Any) -> None:
    from pdb import Pdb, post_mortem

    class Debugger(Pdb):
        has_stopped = False

        def stop_here(self, frame: Any) -> bool:
            """Of what runs a coroutine, before the user's first line, nothing is shown; `s` goes anywhere later."""
            if not self.has_stopped and is_of_python(frame.f_code.co_filename):
                return False
            stops = bool(super().stop_here(frame))
            self.has_stopped = self.has_stopped or stops
            return stops

    debugger = Debugger(skip=["cluster.*", "operators.*"])
    results: list[Any] = []
    try:
        debugger.runcall(lambda: results.append(call(record)))
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        post_mortem(error.__traceback__)
        raise typer.Exit(1) from error
    for result in results:  # none where the debugger was left before the end
        print(repr(result))


def _run(call: "Callable[[Any], Any]", record: Any, step: "Step", letter_id: str, *, json: bool) -> None:
    from operators.failure import last_line, user_traceback
    from sage.base.errors import SageError

    try:
        result = call(record)
    except Exception as error:
        if json:
            print_json({"dead_letter": letter_id, "error": last_line(error)})
        elif isinstance(error, SageError):  # a sink says what it refuses, and all frames are ours
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        else:
            print(user_traceback(step, error), file=sys.stderr, end="")
        raise typer.Exit(1) from error
    print_json({"dead_letter": letter_id, "result": repr(result)}) if json else print(repr(result))
