"""Join a cluster from another machine by a token: enrol its keys, then be a node in the background. Knows no socket."""

import socket as sockets
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cluster.client.dial import check_dial
from cluster.client.head_start import start_and_wait
from cluster.client.joined import JoinedConfig
from cluster.node.config import NodeConfig
from cluster.runtime.addresses import TcpAddress, parse_address
from cluster.runtime.allow_list import Role
from cluster.runtime.curve import ClientTrust
from cluster.runtime.enrolment import enrol
from cluster.runtime.join_token import parse_token
from cluster.runtime.keys import ClusterKeys, KnownHead, open_keys
from cluster.runtime.place import clear_abandoned, place_of_cluster
from sage.base.clock import SystemClock
from sage.base.errors import ConfigInvalid, NameTaken
from sage.base.settings import Settings

MODULE = "cluster.client.joined"


@dataclass(frozen=True, slots=True)
class JoinWish:
    """`name`: how the cluster is called on this machine; `node`: how this machine is called there.

    `token` None: it has joined before. `cpus`, `num_gpus`: by default all.
    """

    address: str
    token: str | None
    name: str
    node: str
    cpus: float | None
    num_gpus: int | None


@dataclass(frozen=True, slots=True)
class Joined:
    """What this machine is now; `pid` is that of its node, None for a client."""

    role: Role
    address: str
    pid: int | None


def join_cluster(wish: JoinWish, settings: Settings) -> Joined:
    """Enrol this machine, where a token is given, and start its node, which outlives this process.

    Returns once the head has admitted it. Raises: TokenInvalid, NotTrusted, ClusterUnreachable, ConfigInvalid;
    ClusterRunning where something of a cluster of this name runs here, NameTaken where a node of this name does there.
    """
    where = parse_address(wish.address)
    if not isinstance(where, TcpAddress):
        raise ConfigInvalid(
            f"{wish.address} is no address of another machine", "Write tcp://HOST:PORT.", param="address"
        )
    place = place_of_cluster(wish.name)
    clear_abandoned()
    place.check_free()
    keys = open_keys(wish.name, settings.cluster)
    check_dial(where, wish.address, _trust(wish, keys))
    role = _enrolled(wish, keys)
    if role is not Role.NODE:
        return Joined(role, wish.address, None)
    head = keys.head()
    assert head is not None, "whoever has enrolled remembers the head"
    place.make()
    node = _node_config(wish, where, head, keys, settings)
    config = msgspec.json.encode(JoinedConfig(wish.name, str(place.folder), node)).decode()
    try:
        started = start_and_wait([MODULE, "--config", config], Path(place.folder), "node.log", is_tied=False)
    except BaseException:
        if not place.lives():
            place.remove()
        raise
    started.let_go()
    return Joined(role, wish.address, started.ready.pid)


def _trust(wish: JoinWish, keys: ClusterKeys) -> ClientTrust | None:
    """Return by what the head knows this machine now: its token, or the key it has joined by."""
    if wish.token is not None:
        token = parse_token(wish.token)
        return ClientTrust(token.keys, token.head_key)
    head = keys.head()
    return ClientTrust(keys.curve(Role.NODE.value), head.public_key) if head is not None else None


def _enrolled(wish: JoinWish, keys: ClusterKeys) -> Role:
    known = keys.head()
    if wish.token is None:
        if known is None or known.address != wish.address:
            what = f"this machine has not joined {wish.address} before"
            raise ConfigInvalid(what, "Give it a token: sage-cluster token, on the head's machine.", param="token")
        return Role.NODE
    token = parse_token(wish.token)
    if known is not None and known.public_key != token.head_key:
        what = f"under the name {wish.name!r} this machine knows another cluster, at {known.address}"
        raise NameTaken(what, "Give this one a name of its own: --name NAME.")
    return enrol(token, keys, wish.node, SystemClock(), address=wish.address)


def _node_config(
    wish: JoinWish, where: TcpAddress, head: KnownHead, keys: ClusterKeys, settings: Settings
) -> NodeConfig:
    return NodeConfig(
        head=wish.address,
        name=wish.node,
        data_address=f"tcp://{own_host_towards(where)}:*",
        settings=settings,
        head_key=head.public_key,
        keys_folder=str(keys.directory),
        key=Role.NODE.value,
        cpus=wish.cpus,
        num_gpus=wish.num_gpus,
        is_child=False,
    )


def own_host_towards(where: TcpAddress) -> str:
    """Return the host of this machine that the other end of `where` sees; nothing is sent. Raises ConfigInvalid."""
    family = sockets.AF_INET6 if where.is_ipv6 else sockets.AF_INET
    with sockets.socket(family, sockets.SOCK_DGRAM) as probe:
        try:
            probe.connect((where.host, where.port or 1))
        except OSError as error:
            raise ConfigInvalid(f"there is no way from here to {where.host}: {error.strerror}") from error
        host = str(probe.getsockname()[0])
    return f"[{host}]" if ":" in host else host
