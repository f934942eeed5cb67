"""Join tokens as the owner of a cluster makes them, on the head's machine. Knows no connection."""

from cluster.runtime.allow_list import AllowList, Role
from cluster.runtime.join_token import JoinToken, issue_token
from cluster.runtime.keys import open_keys
from cluster.runtime.place import place_of_cluster
from sage.base.clock import SystemClock
from sage.base.config import cluster_settings
from sage.base.errors import ClusterUnreachable, KeysUnsafe

HEAD_KEY = "head"


def issue(name: str, role: Role, lifetime_s: float) -> JoinToken:
    """Return a new token for the cluster of this name, whose head sees it at once.

    Raises: ClusterUnreachable where it does not run here, KeysUnsafe where it listens on this machine alone.
    """
    beacon = place_of_cluster(name).beacon()
    if beacon is None:
        what = f"no cluster {name!r} runs on this machine"
        raise ClusterUnreachable(what, "Make tokens where the head runs: sage-cluster start --address tcp://HOST:PORT.")
    if beacon.address is None:
        what = f"cluster {name} listens on this machine alone, so nobody else can join"
        raise KeysUnsafe(what, "Start it so that others reach it: sage-cluster start --address tcp://HOST:PORT.")
    keys = open_keys(name, cluster_settings())
    made: list[JoinToken] = []
    address, head_key = beacon.address, keys.curve(HEAD_KEY).public_key

    def with_token(allowed: AllowList) -> AllowList:
        changed, token = issue_token(
            allowed,
            role=role,
            head_key=head_key,
            address=address,
            now_unix_s=SystemClock().unix_s(),
            lifetime_s=lifetime_s,
        )
        made.append(token)
        return changed

    keys.allow_list.change(with_token)
    return made[-1]
