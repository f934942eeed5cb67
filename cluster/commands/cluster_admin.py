"""Look at a running cluster and tend it: nodes, tokens, the live view. Knows nothing of how it is started."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.commands.cluster_reach import DEFAULT_NAME, Address, Name, reach
from cluster.commands.show import Json, print_json, print_table

if TYPE_CHECKING:
    from cluster.client.cluster import RemoteCluster
    from cluster.commands.cluster_top import ClusterSnapshot


class TokenRole(StrEnum):
    """What whoever uses a token becomes."""

    NODE = "node"
    CLIENT = "client"


def status(name: Name = DEFAULT_NAME, address: Address = None, json: Json = False) -> None:
    """Say whether the cluster runs, where, and with what; exit 1 where it does not."""
    from cluster.commands.cluster_top import headline
    from cluster.runtime.place import place_of_cluster

    beacon = place_of_cluster(name).beacon() if address is None else None
    with reach(name, address) as cluster:
        snapshot = _snapshot(cluster)
        where = address or (beacon.address if beacon is not None else None) or cluster.where
        found = {
            "cluster": cluster.name,
            "address": where,
            "head_pid": cluster.head_pid,
            "nodes": len(snapshot.nodes),
            "engines": len(snapshot.engines),
            "jobs_running": sum(not job.is_over for job in snapshot.jobs),
            "jobs": len(snapshot.jobs),
            "refused": cluster.num_refused,
        }
    if json:
        print_json(found)
        return
    print(f"cluster {found['cluster']} runs at {where} (head: process {found['head_pid']})")
    print(headline(snapshot))
    if found["refused"]:
        print(
            f"{found['refused']} connections to the head came to nothing: no listed key, no handshake, or nonsense said"
        )


def nodes(name: Name = DEFAULT_NAME, address: Address = None, json: Json = False) -> None:
    """List the nodes of the cluster: what they have, what of it is free, how they are."""
    from cluster.commands.cluster_tables import node_rows

    with reach(name, address) as cluster:
        states = cluster.node_states()
    if json:
        print_json(states)
    else:
        print_table(node_rows(states)) if states else print("no node has joined")


def drain(
    node: Annotated[str, typer.Argument(metavar="NODE", help="A node, see: sage-cluster nodes.")],
    name: Name = DEFAULT_NAME,
    address: Address = None,
    json: Json = False,
) -> None:
    """Place nothing new on a node and let what runs there end; then the node ends too."""
    from sage.base.ids import NodeId

    with reach(name, address) as cluster:
        cluster.drain(NodeId(node))
        left = next((state.view.num_tasks for state in cluster.node_states() if state.view.node_id == node), 0)
    if json:
        print_json({"node": node, "state": "draining", "tasks_left": left})
    else:
        print(f"{node} takes no new work; {left} tasks run there, and it ends after them")


def policy(
    policy: Annotated[
        str | None, typer.Argument(metavar="POLICY", help="fifo, priority, edf, dlpm or hybrid; none: as it is.")
    ] = None,
    route: Annotated[
        str | None, typer.Option("--route", help="round_robin, least_work, session, prefix or auto; none: as it is.")
    ] = None,
    name: Name = DEFAULT_NAME,
    address: Address = None,
    json: Json = False,
) -> None:
    """Show in which order requests to models are served and which engine takes them, or change it while all goes on."""
    with reach(name, address) as cluster:
        is_asked = policy is None and route is None
        state = cluster.plane_state() if is_asked else cluster.set_policy(policy, route=route)
    if json:
        print_json(state)
        return
    print(f"policy {state.policy}, route {state.route}")
    if state.tenants:
        from cluster.commands.cluster_tables import tenant_rows

        print_table(tenant_rows(state.tenants))


def token(
    role: Annotated[TokenRole, typer.Option("--role", help="What it lets in: a node, or a client.")] = TokenRole.NODE,
    lifetime_s: Annotated[float, typer.Option("--lifetime-s", min=1, help="How long it can be used.")] = 86_400.0,
    name: Name = DEFAULT_NAME,
    json: Json = False,
) -> None:
    """Make a token by which one machine joins, once; run it where the head runs, and keep it secret."""
    from cluster.client.tokens import issue
    from cluster.runtime.allow_list import Role

    issued = issue(name, Role(role.value), lifetime_s)
    if json:
        print_json(
            {
                "token": issued.text(),
                "id": issued.id,
                "role": issued.role,
                "address": issued.address,
                "expires_unix_s": issued.expires_unix_s,
            }
        )
    else:
        print(issued.text())


def top(
    once: Annotated[bool, typer.Option("--once", help="Show them once, also on a terminal.")] = False,
    name: Name = DEFAULT_NAME,
    address: Address = None,
    json: Json = False,
) -> None:
    """Show nodes, engines and jobs live, until Ctrl-C; where there is no terminal, once."""
    import threading

    from cluster.commands.cluster_top import is_terminal, show_live, show_once

    with reach(name, address) as cluster:
        if json:
            print_json(_snapshot(cluster))
        elif is_terminal() and not once:
            show_live(lambda: _snapshot(cluster), threading.Event().wait)
        else:
            show_once(_snapshot(cluster))


def _snapshot(cluster: "RemoteCluster") -> "ClusterSnapshot":
    from cluster.commands.cluster_top import ClusterSnapshot
    from sage.base.clock import SystemClock

    newest_first = sorted(cluster.job_states(), key=lambda job: job.submitted_unix_s, reverse=True)
    return ClusterSnapshot(
        cluster.name,
        SystemClock().unix_s(),
        cluster.node_states(),
        tuple(cluster.engines()),
        tuple(newest_first),
    )
