"""Options by which commands find a cluster, or a gateway, and the way to it. Knows nothing of what is asked there."""

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cluster.client.cluster import RemoteCluster

Name = Annotated[str, typer.Option("--name", help="Which of this machine's clusters.")]
Address = Annotated[
    str | None, typer.Option("--address", help="A cluster elsewhere: tcp://HOST:PORT; by default that of --name here.")
]
Gateway = Annotated[
    str | None, typer.Option("--gateway", metavar="URL", help="Ask a gateway, by the address of its administration.")
]
GatewayKey = Annotated[
    str, typer.Option("--key-env", metavar="NAME", help="Environment variable with the gateway's key.")
]
DEFAULT_NAME = "default"


def check_gateway(gateway: str | None, key_env: str, *, name: str, address: str | None) -> None:
    """Refuse options of a gateway where none is asked, and those of a cluster where one is."""
    if gateway is None and key_env:
        raise typer.BadParameter("a key is for a gateway: name it by --gateway", param_hint="--key-env")
    if gateway is not None and (address is not None or name != DEFAULT_NAME):
        raise typer.BadParameter("a gateway is asked by its own address", param_hint="--gateway")


def reach(name: str, address: str | None) -> "RemoteCluster":
    """Return the cluster at `address`, else the one of this name that runs here or was joined from here.

    Raises ClusterUnreachable, with what to do.
    """
    from cluster.client.reach import reach_address, reach_name

    return reach_name(name) if address is None else reach_address(address)


def said_again(name: str, address: str | None) -> str:
    """Return the options, each after a space, by which a command that is proposed finds the same cluster."""
    told = [] if name == DEFAULT_NAME else ["--name", name]
    told += [] if address is None else ["--address", address]
    return "".join(f" {shlex.quote(part)}" for part in told)
