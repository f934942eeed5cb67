"""What may be wrong between the processes of a cluster. They are in the tree of `errors`."""

from sage.base.sage_error import WorldError


class WireMismatch(WorldError):
    """The other side speaks another wire version; names both."""

    code = "SAGE-2501"


class ClusterUnreachable(WorldError):
    """No head answers at this address, or it answers no more."""

    code = "SAGE-2502"


class ClusterRunning(WorldError):
    """A cluster was started here before and still runs."""

    code = "SAGE-2503"


class ClusterStartFailed(WorldError):
    """A head or a node that was started did not become ready."""

    code = "SAGE-2504"


class MembershipOver(WorldError):
    """A peer is no member of the cluster, or not any more: its epoch is over, its lease has run out."""

    code = "SAGE-2505"
