"""The sockets of a node with their keys: to the head, and to and from other nodes. Knows no message.

Over `ipc://` there are no keys: the folder keeps strangers out. Over `tcp://` the head is known by its one key, and of
nodes those are let in that the head has named.
"""

from collections.abc import Iterable

import zmq

from cluster.runtime.allow_list import AllowedKey, AllowList, Role
from cluster.runtime.curve import ClientTrust, connect
from cluster.runtime.data_sockets import CurveSockets, DataSockets, PrivateSockets
from cluster.runtime.keys import CurveKeys
from sage.base.clock import Clock
from sage.base.errors import KeysUnsafe


class NodeDoors:
    """What sockets of one node are connected by. `admit` may be called on any thread."""

    def __init__(self, head: str, head_key: str, keys: CurveKeys | None, clock: Clock) -> None:
        """`head`: its address; `head_key`: its public key, where that is `tcp://`. Raises KeysUnsafe without ours."""
        if head_key and keys is None:
            raise KeysUnsafe("the head is known by a key, and this node has none", "Join with a token first.")
        self._head = head
        self._trust = ClientTrust(keys, head_key) if keys is not None and head_key else None
        self._keys = keys
        self._clock = clock
        self._allowed = AllowList()

    @property
    def public_key(self) -> str:
        """By what others know this node; "" without keys."""
        return self._keys.public_key if self._keys is not None else ""

    @property
    def data(self) -> DataSockets:
        """What carries records."""
        if self._keys is None:
            return PrivateSockets()
        return CurveSockets(self._keys, lambda: self._allowed, self._clock)

    def admit(self, public_keys: Iterable[str]) -> None:
        """Let the owners of these keys send records here; "" is nobody's."""
        known = {key.public_key for key in self._allowed.keys}
        for public_key in sorted(set(public_keys) - known - {""}):
            self._allowed = self._allowed.add(AllowedKey(public_key, Role.NODE, public_key, self._clock.unix_s()))

    def to_head(self, socket: "zmq.Socket[bytes]") -> None:
        """Connect a socket to the head; raises ConfigInvalid."""
        connect(socket, self._head, self._trust)
