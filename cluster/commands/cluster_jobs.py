"""Submit flows to a cluster and look after its jobs. Knows nothing of how the cluster runs them."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.commands.cluster_reach import DEFAULT_NAME, Address, Name, reach
from cluster.commands.show import INTERRUPTED, Json, print_json, print_table

if TYPE_CHECKING:
    from cluster.client.cluster import RemoteCluster
    from sage.flow.graph import Graph

Id = Annotated[str, typer.Argument(metavar="ID", help="A job, see: sage-cluster jobs.")]


def submit(
    target: Annotated[str, typer.Argument(metavar="FILE[:FLOW]", help="A Python file, and which of its flows.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end, and cancel it at Ctrl-C.")] = False,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout-s", min=0, help="With --wait: cancel it after so many seconds.")
    ] = None,
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

    graph = chosen_flow(target, "sage-cluster submit").graph()
    with reach(name, address) as cluster:
        if wait:
            _run(cluster, graph, timeout_s, json=json)
            return
        job = cluster.submit(graph)
        if json:
            print_json({"job_id": job.id, "flow": graph.name, "status": job.status})
        else:
            print(job.id)


def jobs(name: Name = DEFAULT_NAME, address: Address = None, json: Json = False) -> None:
    """List the jobs of the cluster, those that are over too."""
    from cluster.commands.cluster_tables import job_rows

    with reach(name, address) as cluster:
        states = cluster.job_states()
    if json:
        print_json(states)
    elif states:
        print_table(job_rows(states))
    else:
        print("no job was submitted yet")


def job(job_id: Id, name: Name = DEFAULT_NAME, address: Address = None, json: Json = False) -> None:
    """Say how a job is: its steps, where they run, how far they are, and why it failed if it did."""
    from cluster.client.news import error_from_remote
    from cluster.commands.cluster_tables import chain_rows, job_rows
    from sage.base.ids import JobId
    from sage.cli import shown_error

    with reach(name, address) as cluster:
        answer = cluster.describe(JobId(job_id))
    if json:
        print_json(answer)
        return
    print_table(job_rows([answer.state]))
    print()
    print_table(chain_rows(answer))
    if answer.state.error is not None:
        print(f"\n{shown_error(error_from_remote(answer.state.error))}")


def logs(
    job_id: Id,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job is over, or Ctrl-C.")] = False,
    name: Name = DEFAULT_NAME,
    address: Address = None,
    json: Json = False,
) -> None:
    """Print what a job printed on its nodes; the newest lines are kept."""
    from sage.base.ids import JobId

    if follow and json:
        raise typer.BadParameter("lines that are still to come are no JSON document", param_hint="--json")
    with reach(name, address) as cluster:
        if not follow:
            lines = cluster.logs(JobId(job_id))
            print_json({"job_id": job_id, "lines": lines}) if json else _print_lines(lines)
            return
        try:
            cluster.follow_logs(JobId(job_id), _print_lines)
        except KeyboardInterrupt as stop:
            raise typer.Exit(INTERRUPTED) from stop


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


def _run(cluster: "RemoteCluster", graph: "Graph", timeout_s: float | None, *, json: bool) -> None:
    from cluster.commands.run import show_result
    from sage.flow.run import run_on_cluster

    try:
        result = run_on_cluster(cluster, graph, timeout_s=timeout_s)
    except KeyboardInterrupt as stop:
        print("\n".join(["cancelled", *getattr(stop, "__notes__", ())]), file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from stop
    show_result(graph.name, result, json=json)


def _print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        print(line, flush=True)
