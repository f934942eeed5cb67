"""End a cluster that was started on this machine, or the node that this machine is of one elsewhere."""

import os
import signal

from cluster.client.reach import reach_name
from cluster.runtime.place import place_of_cluster
from sage.base.errors import ClusterUnreachable, InternalError

STOP_S = 20.0


def stop_cluster(name: str) -> str:
    """End the cluster of this name on this machine, or its node here; return what ended, in words, once it has.

    Raises: ClusterUnreachable where nothing of it runs here.
    """
    place = place_of_cluster(name)
    beacon = place.beacon()
    if beacon is None and place.folder.exists() and not place.lives():
        place.remove()
        raise ClusterUnreachable(
            f"cluster {name!r} does not run: its head was killed; what it left is removed now",
            "Start it again: sage-cluster start.",
        )
    if beacon is not None and beacon.joined_as is not None:
        os.kill(beacon.pid, signal.SIGTERM)  # it holds the lock: the number is its own
        ended = f"node {beacon.joined_as} has left cluster {name}"
    else:
        with reach_name(name) as cluster:
            cluster.stop()
        ended = f"cluster {name} has ended"
    if not place.wait_ended(STOP_S):
        raise InternalError(f"cluster {name} still runs here {STOP_S:g} s after it was told to stop")
    return ended
