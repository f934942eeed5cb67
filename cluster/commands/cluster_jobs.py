"""Submit flows to a cluster and look after its jobs. Knows nothing of how the cluster runs them."""

import sys
from collections.abc import Sequence
from functools import partial
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
from cluster.commands.cluster_reach import DEFAULT_NAME, Address, Name, reach, said_again
from cluster.commands.show import INTERRUPTED, Json, cache_line, calls_line, print_json, print_table
from sage.base.clock import SystemClock

if TYPE_CHECKING:
    from cluster.client.cluster import RemoteCluster
    from cluster.runtime.states import JobState
    from sage.base.ids import JobId
    from sage.flow.checkpoint import Checkpoint
    from sage.flow.graph import Graph

Id = Annotated[str, typer.Argument(metavar="ID", help="A job, see: sage-cluster jobs.")]


def submit(
    target: Annotated[str, typer.Argument(metavar="FILE[:FLOW]", help="A Python file, and which of its flows.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end, and cancel it at Ctrl-C.")] = False,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout-s", min=0, help="With --wait: cancel it after so many seconds.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print how it would run, and submit nothing; no cluster is asked.")
    ] = False,
    checkpoint: CheckpointFolder = None,
    every_s: EveryS = EVERY_S,
    savepoint: Savepoint = None,
    resume: ResumeOption = ResumeChoice.AUTO,
    state: StateOption = StateChoice.MEMORY,
    drop: DropOption = None,
    name: Name = DEFAULT_NAME,
    address: Address = None,
    json: Json = False,
) -> None:
    """Start a flow of a Python file on the cluster; without --wait print its job's id.

    Exit status 1 where the job is refused or, with --wait, does not finish.
    """
    if timeout_s is not None and not wait:
        raise typer.BadParameter("it goes with --wait", param_hint="--timeout-s")
    from cluster.commands.flow_choice import chosen_flow

    kept = checkpoint_of(checkpoint, every_s, savepoint, resume, state, drop or ())
    graph = chosen_flow(target, f"sage-cluster submit{said_again(name, address)}").graph()
    if explain:
        from cluster.commands.explain_flow import explain_flow

        return explain_flow(graph, state, is_here=False, json=json)
    with reach(name, address) as cluster:
        if wait:
            _run(cluster, graph, timeout_s, kept, resume, json=json)
            return
        job = cluster.submit(graph, checkpoint=kept, resume=resume.value, collects=False, shows=False)
        if json:
            print_json({"job_id": job.id, "flow": graph.name, "status": job.status})
        else:
            print(job.id)
            _say_what_is_kept(graph, job.id)


def jobs(name: Name = DEFAULT_NAME, address: Address = None, json: Json = False) -> None:
    """List the jobs of the cluster, those that are over too."""
    from cluster.commands.cluster_tables import job_rows

    with reach(name, address) as cluster:
        states = cluster.job_states()
    if json:
        print_json(states)
    elif states:
        print_table(job_rows(states, SystemClock().unix_s()))
    else:
        print("no job was submitted yet")


def job(
    job_id: Id,
    explain: Annotated[bool, typer.Option("--explain", help="Say why each part of it is where it is.")] = False,
    results: Annotated[
        bool, typer.Option("--results", help="Print what it collected and nobody took, a record a line.")
    ] = False,
    flow: Annotated[
        str | None,
        typer.Option(metavar="FILE[:FLOW]", help="With --results: its flow, where records are of classes of its own."),
    ] = None,
    name: Name = DEFAULT_NAME,
    address: Address = None,
    json: Json = False,
) -> None:
    """Say how a job is: its steps, where they run, how far they are, and why it failed if it did."""
    from cluster.client.news import error_from_remote
    from cluster.commands.cluster_tables import chain_rows, job_rows
    from sage.base.ids import JobId
    from sage.cli import shown_error

    if explain and results:
        raise typer.BadParameter("it does not go with --explain", param_hint="--results")
    if results:
        return _results(JobId(job_id), flow, name, address, json=json)
    with reach(name, address) as cluster:
        answer = cluster.describe(JobId(job_id))
        lines = cluster.explain(JobId(job_id)) if explain else ()
    if explain:
        return _explain(answer.state, lines, json=json)
    if json:
        print_json(answer)
        return
    now_unix_s = SystemClock().unix_s()
    print_table(job_rows([answer.state], now_unix_s))
    print()
    print_table(chain_rows(answer, now_unix_s))
    _say_urls(answer.state)
    _say_calls(answer.state)
    if answer.state.error is not None:
        print(f"\n{shown_error(error_from_remote(answer.state.error))}")


def logs(
    job_id: Id,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job is over, or Ctrl-C.")] = False,
    name: Name = DEFAULT_NAME,
    address: Address = None,
    json: Json = False,
) -> None:
    """Print what a job printed on its nodes, its functions too; the newest lines are kept.

    With --follow and --json: a document a line.
    """
    from cluster.commands.log_lines import json_lines, shown_lines
    from sage.base.ids import JobId

    with reach(name, address) as cluster:
        if not follow:
            lines = cluster.logs(JobId(job_id))
            print_json({"job_id": job_id, "lines": lines}) if json else _print_lines(shown_lines(lines))
            return
        shown = partial(json_lines, job_id) if json else shown_lines
        try:
            cluster.follow_logs(JobId(job_id), lambda lines: _print_lines(shown(lines)))
        except KeyboardInterrupt as stop:
            raise typer.Exit(INTERRUPTED) from stop


def dead_letters(job_id: Id, name: Name = DEFAULT_NAME, address: Address = None, json: Json = False) -> None:
    """List the newest dead letters of a job: which step failed on what, why, and where it came from."""
    from cluster.commands.cluster_tables import letter_lines
    from sage.base.ids import JobId

    with reach(name, address) as cluster:
        found = cluster.job(JobId(job_id)).dead_letters()
    if json:
        print_json({"job_id": job_id, "dead_letters": found})
    else:
        _print_lines(letter_lines(found) or ["no record was set aside"])


def state(
    job_id: Id,
    step: Annotated[str | None, typer.Argument(metavar="STEP", help="One of its steps; by default list them.")] = None,
    key: Annotated[
        str | None, typer.Argument(metavar="KEY", help="JSON, else taken as text: 7, ann, '[\"ann\", 7]'.")
    ] = None,
    timeout_s: Annotated[float, typer.Option("--timeout-s", min=0, help="For the step to answer.")] = 5.0,
    name: Name = DEFAULT_NAME,
    address: Address = None,
    json: Json = False,
) -> None:
    """Print what a step of a running job keeps of a key now, between two batches."""
    from cluster.commands.cluster_results import key_of_text, lines_of
    from sage.base.ids import JobId

    if step is not None and key is None:
        raise typer.BadParameter("give the key too", param_hint="KEY")
    with reach(name, address) as cluster:
        found = cluster.job(JobId(job_id))
        if step is None or key is None:
            print_json({"job_id": job_id, "steps": found.states()}) if json else _print_lines(found.states())
            return
        [line] = lines_of([found.state(step, key_of_text(key), timeout_s=timeout_s)])
    if json:
        from msgspec import Raw

        print_json({"job_id": job_id, "step": step, "key": key, "state": Raw(line.encode())})
    else:
        print(line)


def cancel(job_id: Id, name: Name = DEFAULT_NAME, address: Address = None, json: Json = False) -> None:
    """Stop a job now, and wait until it has; a job that is over is left as it is."""
    from sage.base.ids import JobId

    with reach(name, address) as cluster:
        found = cluster.job(JobId(job_id))
        found.cancel()
        if json:
            print_json({"job_id": job_id, "status": found.status})
        else:
            print(f"{job_id} {found.status}")


def savepoint(
    job_id: Id,
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="A new folder; the head writes it.")] = "savepoint",
    name: Name = DEFAULT_NAME,
    address: Address = None,
    json: Json = False,
) -> None:
    """Copy all that a job with checkpoints holds to a new folder, and let it go on; a later run begins from it."""
    import os

    from sage.base.ids import JobId

    with reach(name, address) as cluster:
        found = cluster.job(JobId(job_id))
        found.savepoint(folder)
    if json:
        print_json({"job_id": job_id, "flow": found.graph.name, "savepoint": os.path.abspath(folder)})
    else:
        print(f"{os.path.abspath(folder)} holds what {job_id} held")
        print("  begin from it   sage-cluster submit FILE[:FLOW] --checkpoint OTHER_FOLDER --savepoint " + folder)


def _run(
    cluster: "RemoteCluster",
    graph: "Graph",
    timeout_s: float | None,
    kept: "Checkpoint | None",
    resume: ResumeChoice,
    *,
    json: bool,
) -> None:
    from cluster.commands.run import show_result, waited_for
    from sage.flow.run import run_on_cluster

    with waited_for():
        result = run_on_cluster(cluster, graph, timeout_s=timeout_s, checkpoint=kept, resume=resume.value)
    show_result(graph.name, result, json=json)


def _say_urls(state: "JobState") -> None:
    """Say where to post to those sources of a job that listen."""
    listening = [chain for chain in state.metrics.chains if chain.urls] if not state.is_over else []
    for chain in listening:
        print()
        for url in chain.urls:
            print(f"{chain.steps[0]} on {', '.join(chain.nodes)} listens at {url}")


def _say_calls(state: "JobState") -> None:
    chains = state.metrics.chains
    num_replayed, num_repeated = (
        sum(chain.num_replayed for chain in chains),
        sum(chain.num_repeated for chain in chains),
    )
    if num_replayed or num_repeated:
        print(f"\n{calls_line(num_replayed, num_repeated)}")
    num_cached, num_unreadable = (
        sum(chain.num_cached for chain in chains),
        sum(chain.num_unreadable for chain in chains),
    )
    if num_cached or num_unreadable:
        print(f"\n{cache_line(num_cached, num_unreadable)}")


def _say_what_is_kept(graph: "Graph", job_id: str) -> None:
    from cluster.client.collecting import collecting_sinks

    if collecting_sinks(graph):
        said = "its newest collected records are kept at the head, some megabytes of them"
        print(f"{said}: sage-cluster job {job_id} --results", file=sys.stderr)


def _explain(state: "JobState", lines: Sequence[str], *, json: bool) -> None:
    if json:
        print_json({"job_id": state.job_id, "status": state.metrics.status, "placement": lines})
    elif lines:
        _print_lines(lines)
    else:
        why = "it is over, and its place is forgotten" if state.is_over else "it waits for a place"
        print(f"{state.job_id} has no place: {why}")
        if state.error is not None and not state.is_over:
            print(state.error.failure.what)


def _results(job_id: "JobId", flow: str | None, name: str, address: str | None, *, json: bool) -> None:
    """Print records as JSON where they can be, else as Python shows them."""
    from msgspec import Raw

    from cluster.commands.cluster_results import lines_of, notes_of
    from cluster.commands.flow_choice import chosen_flow

    graph = chosen_flow(flow, "sage-cluster job --flow").graph() if flow is not None else None
    with reach(name, address) as cluster:
        found = cluster.results(job_id, graph)
    lines = {step: lines_of(items) for step, items in found.items.items()}
    if json:
        records = {step: [Raw(line.encode()) for line in each] for step, each in lines.items()}
        status = found.state.metrics.status
        print_json({"job_id": job_id, "status": status, "num_dropped": found.num_dropped, "results": records})
        return
    for step, each in lines.items():
        if len(lines) > 1:
            print(f"# {step}")
        _print_lines(each)
    for note in notes_of(found):
        print(note, file=sys.stderr)


def _print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        print(line, flush=True)
