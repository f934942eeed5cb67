"""How flows travel to a cluster: signed, in an envelope; else by the file that every node has. Knows no connection."""

from cluster.client.cluster import Shipping
from cluster.client.collecting import Unpack
from cluster.jobs.code import Shipper, code_of
from cluster.jobs.flow_types import flow_types
from cluster.runtime.packed import unpack_records
from cluster.runtime.signing import SigningKey
from cluster.runtime.travelling_code import Code
from sage.base.clock import SystemClock
from sage.base.ids import JobId
from sage.flow.graph import Graph


def shipping_by(key: SigningKey) -> Shipping:
    """Return how to ship in envelopes that `key` signs.

    A flow that cannot travel so, for what it holds or because the cluster takes no envelopes, goes by the name and the
    hash of its file, which the nodes then import. Not the other way round: a script that runs its flow when it is
    imported would run it anew on every node.
    """
    return Shipping(Shipper(key, SystemClock()), _by_file, _unpack)


def shipping_of_files() -> Shipping:
    """Return how to ship without a key: by names and hashes of files alone."""
    return Shipping(_by_file, None, _unpack)


def _by_file(graph: Graph, job_id: JobId) -> Code:
    return code_of(graph, job_id, None)


def _unpack(graph: Graph) -> Unpack:
    types = flow_types(graph)
    return lambda data: unpack_records(data, types)
