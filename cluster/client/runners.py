"""What serves addresses: `local`, `local:N`, `ipc://PATH`, `tcp://HOST:PORT`. Loads what an address needs, no more."""

import os

from sage.base.errors import FlowInvalid
from sage.flow.runner import Cluster


def connect_local(address: str | None = None) -> Cluster:
    """Return a cluster in this process, or for `local:N` one of N processes; raises UnknownAddress, FlowInvalid."""
    if address in (None, "local"):
        from cluster.local import LocalCluster

        return LocalCluster()
    from cluster.client.nodes_here import nodes_here, num_nodes_of

    num_nodes = num_nodes_of(address or "")
    _check_outside()
    return nodes_here(num_nodes)


def connect_remote(address: str | None) -> Cluster:
    """Return the running cluster at `tcp://HOST:PORT` or `ipc:///PATH`.

    Raises: ConfigInvalid, ClusterUnreachable, NotTrusted, FlowInvalid.
    """
    from cluster.client.reach import reach_address

    _check_outside()
    return reach_address(address or "")


def _check_outside() -> None:
    """Refuse what a node runs while it loads a flow: each of the nodes would load the same file, without end."""
    from cluster.node.config import WITHIN

    node = os.environ.get(WITHIN)
    if node is not None:
        raise FlowInvalid(
            f"node {node} was about to run a flow while it loaded one",
            'Put what runs flows below `if __name__ == "__main__":`, so that importing the file runs nothing.',
        )
