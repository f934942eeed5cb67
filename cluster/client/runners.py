"""What serves addresses: `local`, `local:N`, `ipc://PATH`, `tcp://HOST:PORT`. Loads what an address needs, no more."""

from sage.flow.runner import Cluster


def connect_local(address: str | None = None) -> Cluster:
    """Return a cluster in this process, or for `local:N` one of N processes; raises UnknownAddress."""
    if address in (None, "local"):
        from cluster.local import LocalCluster

        return LocalCluster()
    from cluster.client.nodes_here import nodes_here, num_nodes_of

    return nodes_here(num_nodes_of(address or ""))


def connect_remote(address: str | None) -> Cluster:
    """Return the running cluster at `tcp://HOST:PORT` or `ipc:///PATH`; raises ClusterUnreachable, NotTrusted."""
    from cluster.client.reach import reach_address

    return reach_address(address or "")
