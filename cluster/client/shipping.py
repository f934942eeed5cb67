"""How flows travel to a cluster: as the file that every node has, or signed, in an envelope. Knows no connection."""

from cluster.client.cluster import Shipping
from cluster.client.collecting import Unpack
from cluster.jobs.code import Shipper, code_of
from cluster.jobs.flow_types import flow_types
from cluster.runtime.control import Code
from cluster.runtime.packed import unpack_records
from cluster.runtime.signing import SigningKey
from sage.base.clock import SystemClock
from sage.base.ids import JobId
from sage.flow.graph import Graph


def shipping_to(key: SigningKey | None, *, shares_files: bool) -> Shipping:
    """Return how to ship to a cluster, signed by `key`; None: nothing is shipped but what stands in files.

    `shares_files`: its nodes see the files of this machine, so that a flow that stands in one goes by its name. Else
    it is put into an envelope, files and all, and goes by name only where the cluster takes no envelopes.
    """
    ship = Shipper(key, SystemClock()) if key is not None else None

    def by_file(graph: Graph, job_id: JobId) -> Code:
        return code_of(graph, job_id, ship)

    def by_name_alone(graph: Graph, job_id: JobId) -> Code:
        return code_of(graph, job_id, None)

    if shares_files or ship is None:
        return Shipping(by_file, None, _unpack)
    return Shipping(ship, by_name_alone, _unpack)


def _unpack(graph: Graph) -> Unpack:
    types = flow_types(graph)
    return lambda data: unpack_records(data, types)
