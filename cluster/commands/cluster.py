"""Start a cluster, join one, submit flows to it and look after it. Knows no cluster: each verb loads what it needs."""

import sys
from typing import Annotated

import typer

from cluster.commands import cluster_admin, cluster_jobs
from cluster.commands.cluster_reach import DEFAULT_NAME, Name
from cluster.commands.show import Json, counted, print_json
from sage.cli import new_app, run_command

app = new_app("Start a cluster, join one, submit flows to it and look after it.")

Cpus = Annotated[float | None, typer.Option("--cpus", min=0, help="CPUs to offer; by default all.")]
Gpus = Annotated[int | None, typer.Option("--gpus", min=0, help="GPUs to offer; by default all.")]


def main() -> int:
    """Run `sage-cluster` and return its exit status."""
    return run_command(app, "sage-cluster", sys.argv[1:])


@app.command()
def start(
    nodes: Annotated[int, typer.Option("--nodes", min=0, max=1024, help="Nodes on this machine.")] = 1,
    address: Annotated[
        str | None,
        typer.Option("--address", help="tcp://HOST:PORT where other machines reach it; by default this machine alone."),
    ] = None,
    cpus: Cpus = None,
    gpus: Gpus = None,
    engine: Annotated[
        list[str] | None, typer.Option(metavar="SPEC", help="KIND:TARGET[,KEY=VALUE...]; may be given several times.")
    ] = None,
    no_code_shipping: Annotated[
        bool, typer.Option("--no-code-shipping", help="Take only flows from files that the nodes have themselves.")
    ] = False,
    mend_journal: Annotated[
        bool,
        typer.Option("--mend-journal", help="Keep what is whole of a damaged journal of jobs, and begin with that."),
    ] = False,
    name: Name = DEFAULT_NAME,
    json: Json = False,
) -> None:
    """Start head, control plane and nodes in the background, and say where they are; exit 1 where they run already."""
    from cluster.client.start import ClusterWish, start_cluster
    from cluster.serving.engines.spec import spec_from_text
    from sage.base.config import load_settings

    specs = [spec_from_text(text) for text in engine or ()]
    wish = ClusterWish(name, nodes, address, specs, not no_code_shipping, cpus, gpus, mend_journal)
    beacon, mending = start_cluster(wish, load_settings())
    if mending is not None:
        from cluster.commands.cluster_tables import mended_lines

        print(*mended_lines(mending), sep="\n", file=sys.stderr)
    if json:
        print_json(beacon)
        return
    _say_where(name, nodes, beacon.pid, beacon.address)


def _say_where(name: str, num_nodes: int, pid: int, address: str | None) -> None:
    from cluster.runtime.place import named_by

    named = named_by(name)
    print(f"cluster {name} runs (head: process {pid}, {counted(num_nodes, 'node')})")
    print(f"  submit   sage-cluster submit{named} FILE[:FLOW]")
    if address is not None:
        print(f'  or       flow.run("{address}")')
        print(f"  join     sage-cluster join {address} --token TOKEN, with one from: sage-cluster token{named}")
    else:
        print("  join     start it with --address tcp://HOST:PORT, and other machines can join")
    print(f"  look     sage-cluster top{named}")
    print(f"  stop     sage-cluster stop{named}")


@app.command()
def join(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="tcp://HOST:PORT of the cluster.")],
    token: Annotated[
        str | None,
        typer.Option("--token", help="From `sage-cluster token` there; not needed to come back to a cluster."),
    ] = None,
    node: Annotated[str | None, typer.Option("--node", help="This node's name; by default the machine's.")] = None,
    cpus: Cpus = None,
    gpus: Gpus = None,
    name: Name = DEFAULT_NAME,
    json: Json = False,
) -> None:
    """Let this machine be a node of a cluster elsewhere, in the background; or a client, where the token says so."""
    import socket

    from cluster.client.joining import JoinWish, join_cluster
    from cluster.runtime.place import named_by
    from sage.base.config import load_settings

    wish = JoinWish(address, token, name, node or socket.gethostname(), cpus, gpus)
    joined = join_cluster(wish, load_settings())
    if json:
        print_json({"cluster": name, "role": joined.role, "address": joined.address, "pid": joined.pid})
    elif joined.pid is None:
        print(f'this user may submit to {address} now: flow.run("{address}"), sage-cluster submit --address {address}')
    else:
        print(f"{wish.node} is a node of the cluster at {address} (process {joined.pid})")
        print(f"  leave    sage-cluster stop{named_by(name)}")


@app.command()
def stop(name: Name = DEFAULT_NAME, json: Json = False) -> None:
    """End the cluster that was started here, with its jobs, nodes and engines; where it was joined, this node alone."""
    from cluster.client.stop import stop_cluster

    said = stop_cluster(name)
    print_json({"cluster": name, "state": "ended"}) if json else print(said)


app.command()(cluster_admin.status)
app.command()(cluster_admin.nodes)
app.command()(cluster_jobs.submit)
app.command()(cluster_jobs.jobs)
app.command()(cluster_jobs.job)
app.command()(cluster_jobs.logs)
app.command("dead-letters")(cluster_jobs.dead_letters)
app.command()(cluster_jobs.cancel)
app.command()(cluster_jobs.savepoint)
app.command()(cluster_jobs.state)
app.command()(cluster_admin.drain)
app.command()(cluster_admin.policy)
app.command()(cluster_admin.token)
app.command()(cluster_admin.top)
