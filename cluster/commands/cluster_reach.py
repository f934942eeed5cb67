"""Options by which commands find a cluster, and the way to it. Knows nothing of what is asked there."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cluster.client.cluster import RemoteCluster

Name = Annotated[str, typer.Option("--name", help="Which of this machine's clusters.")]
Address = Annotated[
    str | None, typer.Option("--address", help="A cluster elsewhere: tcp://HOST:PORT; by default that of --name here.")
]
DEFAULT_NAME = "default"


def reach(name: str, address: str | None) -> "RemoteCluster":
    """Return the cluster at `address`, else the one of this name that runs here or was joined from here.

    Raises ClusterUnreachable, with what to do.
    """
    from cluster.client.reach import reach_address, reach_name

    return reach_name(name) if address is None else reach_address(address)
