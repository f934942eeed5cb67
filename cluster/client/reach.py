"""Ways to a running cluster: by its name on this machine, or by address, with the keys for it. Starts nothing."""

from pathlib import Path

import zmq

from cluster.client.cluster import RemoteCluster
from cluster.client.dial import check_dial
from cluster.client.line import HeadLine
from cluster.client.own_name import own_name
from cluster.client.shipping import shipping_by, shipping_of_files
from cluster.runtime.addresses import IpcAddress, TcpAddress, parse_address
from cluster.runtime.allow_list import Role
from cluster.runtime.channel import Attach
from cluster.runtime.curve import ClientTrust, connect
from cluster.runtime.keys import ClusterKeys, known_heads, open_keys
from cluster.runtime.place import DEFAULT_NAME, named_by, place_of_cluster
from sage.base.config import cluster_settings
from sage.base.errors import ClusterUnreachable, ConfigInvalid, NotTrusted
from sage.base.settings import ClusterSettings

CLIENT_KEY = "client"


def reach(where: str) -> RemoteCluster:
    """Return the cluster at an address, or of a name on this machine; raises what those two ways raise."""
    return reach_address(where) if "://" in where else reach_name(where)


def reach_name(name: str = DEFAULT_NAME) -> RemoteCluster:
    """Return the cluster of this name that runs on this machine, else the one that was joined from here.

    Raises ClusterUnreachable where there is none.
    """
    settings = cluster_settings()
    beacon = place_of_cluster(name).beacon()
    if beacon is not None and beacon.control:
        return _reached(beacon.control, attach_by(beacon.control), open_keys(name, settings), settings)
    head = known_heads(settings).get(name)
    if head is not None:
        return reach_address(head.address)
    raise ClusterUnreachable(
        f"no cluster {name!r} runs on this machine",
        f"Start one: sage-cluster start{named_by(name)}. One elsewhere: --address tcp://HOST:PORT.",
    )


def reach_address(address: str) -> RemoteCluster:
    """Return the cluster at `tcp://HOST:PORT` or `ipc:///PATH`.

    Raises: ConfigInvalid where that is no address, NotTrusted where this user has no key for it, ClusterUnreachable.
    """
    settings = cluster_settings()
    match parse_address(address):
        case IpcAddress(path=path):
            _check_socket(path, address)
            place = place_of_cluster(path.parent.name)
            keys = open_keys(place.name, settings) if place.socket == path else None
            return _reached(address, attach_by(address), keys, settings)
        case TcpAddress(port=None):
            raise ConfigInvalid(f"{address} has no port", "Write tcp://HOST:PORT.", param="address")
        case TcpAddress() as where:
            return _reached_by_key(address, where, settings)


def _reached_by_key(address: str, where: TcpAddress, settings: ClusterSettings) -> RemoteCluster:
    name = next((name for name, head in known_heads(settings).items() if head.address == address), None)
    if name is None:
        check_dial(where, address, None)
        raise NotTrusted(
            f"this user has no key for the cluster at {address}",
            "On the head's machine: sage-cluster token --role client. Then here: "
            f"sage-cluster join {address} --token TOKEN",
        )
    keys = open_keys(name, settings)
    head = keys.head()
    assert head is not None, name
    trusts = [ClientTrust(keys.curve(who), head.public_key) for who in _identities(keys)]
    check_dial(where, address, trusts[0])
    for trust in trusts[:-1]:
        try:
            return _reached(address, attach_by(address, trust), keys, settings)
        except NotTrusted:  # made for another cluster of this name, or revoked
            continue
    return _reached(address, attach_by(address, trusts[-1]), keys, settings)


def _identities(keys: ClusterKeys) -> list[str]:
    """Return as what this user may be known to a head: as a client, else as the node that this machine is there."""
    known = [who for who in (CLIENT_KEY, Role.NODE.value) if keys.has_curve(who)]
    return known or [CLIENT_KEY]


def _reached(address: str, attach: Attach, keys: ClusterKeys | None, settings: ClusterSettings) -> RemoteCluster:
    shipping = shipping_by(keys.signing()) if keys is not None else shipping_of_files()
    line = HeadLine(attach, where=address, reconnect_s=settings.reconnect_s)
    return RemoteCluster(line, line.greet(own_name()), shipping, where=address)


def attach_by(address: str, trust: ClientTrust | None = None) -> Attach:
    """Return what connects a socket to `address`, by keys where it needs them."""

    def attach(socket: "zmq.Socket[bytes]") -> None:
        connect(socket, address, trust)

    return attach


def _check_socket(path: Path, address: str) -> None:
    if not path.exists():
        raise ClusterUnreachable(f"no cluster listens at {address}", "Start one: sage-cluster start.")
