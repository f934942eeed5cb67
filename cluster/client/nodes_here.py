"""`local:N`: N node processes of this machine, for as long as their cluster object lives. Knows no flow."""

import re

from cluster.client.cluster import RemoteCluster
from cluster.client.head_start import start_head
from cluster.client.line import HeadLine
from cluster.client.news import ShowLines, print_lines
from cluster.client.own_name import own_name
from cluster.client.reach import attach_by
from cluster.client.shipping import shipping_by
from cluster.head.config import HeadConfig
from cluster.runtime.host_process import private_directory
from cluster.runtime.signing import new_signing_key
from sage.base.config import load_settings
from sage.base.errors import UnknownAddress
from sage.base.settings import Settings

MAX_NODES = 1024
_ADDRESS = re.compile(r"local:([0-9]{1,4})")


def num_nodes_of(address: str) -> int:
    """Return the N of `local:N`; raises UnknownAddress.

    >>> num_nodes_of("local:4")
    4
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or not 1 <= int(match[1]) <= MAX_NODES:
        raise UnknownAddress(f"{address!r} is no number of nodes", f"Write local:N, with N from 1 to {MAX_NODES}.")
    return int(match[1])


def nodes_here(num_nodes: int, *, settings: Settings | None = None, show: ShowLines = print_lines) -> RemoteCluster:
    """Start a head and its nodes; they end with the cluster that is returned, or with this process.

    `show` takes the lines that jobs print, on another thread. Raises ClusterStartFailed.
    """
    settings = settings if settings is not None else load_settings()
    folder, key = private_directory(), new_signing_key()
    config = HeadConfig(
        name="local", folder=str(folder), num_nodes=num_nodes, settings=settings, submitters=(key.public_key,)
    )
    head = start_head(config)
    where = f"local:{num_nodes}"
    try:
        line = HeadLine(attach_by(head.ready.control), where=where)
        greeting = line.greet(own_name())
    except BaseException:
        head.close()
        raise
    return RemoteCluster(line, greeting, shipping_by(key), where=where, show=show, on_close=head.close)
