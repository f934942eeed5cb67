"""How a machine with a join token gets onto the allow-list: one question, one answer. Knows no member and no job.

Whoever was let in by a token may say Enrol and nothing else (`check_may_say`). The head redeems the token and puts the
newcomer's own keys on its list; the newcomer remembers the head and comes back with them.
"""

from typing import Final

import zmq

from cluster.runtime.allow_list import AllowedKey, Role, Standing, TokenRecord
from cluster.runtime.control import ControlMessage, NodeToHead
from cluster.runtime.control_clients import ClientToHead, Declined, ReadOnly
from cluster.runtime.control_frames import FrameReader, FrameWriter
from cluster.runtime.curve import ClientTrust, connect, set_bounds
from cluster.runtime.handshakes import Handshake, HandshakeMonitor
from cluster.runtime.join_token import Joiner, JoinToken, redeem
from cluster.runtime.keys import AllowListFile, ClusterKeys, KnownHead
from sage.base.clock import Clock
from sage.base.codec import Codec
from sage.base.errors import ClusterUnreachable, InternalError, NotTrusted, TokenInvalid

TIMEOUT_S: Final = 10.0
_ANOTHER = "Ask for another one: `sage-cluster token` on the head's machine."


class Enrol(ControlMessage, frozen=True):
    """The first and only message of a connection that a join token let in: put these keys on the list."""

    label: str
    public_key: str
    signing_key: str | None = None


class Enrolled(ControlMessage, frozen=True):
    """The keys are on the list, and the token is spent. Declined is the other answer."""

    role: Role


def check_may_say(standing: Standing | None, message: ControlMessage) -> None:
    """Raise NotTrusted unless a peer of this standing may say `message`: asked at each message of a peer with a key.

    So a node gives no orders and only asks how the cluster is, a client does no node's work, and who was revoked says
    nothing more on an old connection.
    """
    match standing:
        case TokenRecord():
            may, who = isinstance(message, Enrol), "whoever comes with a join token"
        case AllowedKey(role=Role.NODE):
            may, who = isinstance(message, NodeToHead | ReadOnly), "a node"
        case AllowedKey(role=Role.CLIENT):
            may, who = isinstance(message, ClientToHead), "a client"
        case _:
            may, who = False, "whoever is not on the allow-list"
    if not may:
        raise NotTrusted(f"{who} may not say {type(message).__name__}", "Join with a token of the right role.")


def enrolled(allow_list: AllowListFile, token_key: str, message: Enrol, now_unix_s: float) -> Enrolled:
    """Redeem a token for who was let in by `token_key`, on the head; its list is changed on disk once this returns.

    Raises: TokenInvalid, NotTrusted, InvalidRequest, as `redeem` does; KeysUnsafe where the list cannot be changed.
    """
    joiner = Joiner(message.public_key, message.label, message.signing_key)
    changed = allow_list.change(lambda allowed: redeem(allowed, token_key, joiner, now_unix_s))
    return Enrolled(next(key.role for key in changed.keys if key.public_key == message.public_key))


def enrol(
    token: JoinToken,
    keys: ClusterKeys,
    label: str,
    clock: Clock,
    *,
    identity: str | None = None,
    address: str | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Role:
    """Get this machine's own keys onto the head's list, remember the head, and return what this machine is now.

    `identity` names the key pair, by default the role ("node", "client"); `address` is used instead of the token's.

    Raises: TokenInvalid where the head does not take the token, ClusterUnreachable where it does not answer in time,
    KeysUnsafe, ConfigInvalid; what the head declines with.
    """
    late_s = clock.unix_s() - token.expires_unix_s
    if late_s >= 0.0:
        raise TokenInvalid(f"join token {token.id} expired {late_s:.0f} s ago", _ANOTHER)
    where = address or token.address
    signing_key = keys.signing().public_key if token.role is Role.CLIENT else None
    message = Enrol(label, keys.curve(identity or token.role.value).public_key, signing_key)
    answer = _answer(message, token, where, clock, timeout_s)
    keys.remember_head(KnownHead(where, token.head_key))
    return answer.role


def _answer(message: Enrol, token: JoinToken, address: str, clock: Clock, timeout_s: float) -> Enrolled:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
    socket = context.socket(zmq.DEALER)
    set_bounds(socket)
    monitor = HandshakeMonitor(socket)
    try:
        connect(socket, address, ClientTrust(token.keys, token.head_key))
        socket.send_multipart(FrameWriter().frames(message, 0), zmq.NOBLOCK)
        frames = _frames(socket, monitor, token, address, clock.monotonic_s() + timeout_s, clock)
    finally:
        monitor.close()
        socket.close(linger=0)
        context.term()
    codec: Codec[Enrolled | Declined] = Codec(Enrolled | Declined)  # type: ignore[arg-type] # a union is no class to mypy
    answer, _ = FrameReader(codec).read(frames)
    if isinstance(answer, Declined):
        raise answer.failure.error()
    return answer


def _frames(
    socket: "zmq.Socket[bytes]",
    monitor: HandshakeMonitor,
    token: JoinToken,
    address: str,
    until_s: float,
    clock: Clock,
) -> list[bytes]:
    """Return the first message that comes; raises as soon as it is known that none will."""
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(monitor.fd, zmq.POLLIN)
    while (left_s := until_s - clock.monotonic_s()) > 0.0:
        poller.poll(max(1, round(left_s * 1000)))
        if socket.poll(0):
            return socket.recv_multipart()
        monitor.drain()
        if monitor.counts[Handshake.AUTH]:
            what = f"the head at {address} does not take join token {token.id}: it was used, has expired or was revoked"
            raise TokenInvalid(what, _ANOTHER)
        if monitor.counts[Handshake.SUCCEEDED] and monitor.counts[Handshake.DISCONNECTED]:
            raise InternalError(f"the head at {address} broke off without an answer")
    raise ClusterUnreachable(
        f"no head with the key of join token {token.id} answers at {address}",
        "See that it runs and can be reached there: sage-cluster status on its machine; or name another address.",
    )
