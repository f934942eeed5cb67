"""Who may finish a CURVE handshake: answers libzmq by the allow-list, on the thread of whoever owns the sockets.

libzmq asks (ZAP, RFC 27) over a socket of the same context; there is one Gatekeeper a context. Knows no message.
"""

from collections.abc import Callable, Sequence

import zmq
from zmq.utils import z85

from cluster.runtime.allow_list import AllowList
from sage.base.clock import Clock
from sage.base.errors import InternalError, SageError
from sage.base.log import get_log

_ENDPOINT = "inproc://zeromq.zap.01"
_VERSION = b"1.0"
_LEN_KEY_BYTES = 32
_FRAMES_BEFORE_CREDENTIALS = 8

Admits = Callable[[str, str], bool]
"""Says whether a domain takes a public key."""


def zap_answer(frames: Sequence[bytes], admits: Admits) -> list[bytes] | None:
    """Return the answer to one question of libzmq's, with the peer's key as its user id; None where it is none.

    frames: routing id, empty, version, request id, domain, address, identity, mechanism, credentials...
    """
    if len(frames) < _FRAMES_BEFORE_CREDENTIALS or frames[2] != _VERSION:
        return None
    routing_id, _, _, request_id, domain, _, _, mechanism, *credentials = frames
    key = ""
    if mechanism == b"CURVE" and len(credentials) == 1 and len(credentials[0]) == _LEN_KEY_BYTES:
        key = z85.encode(credentials[0]).decode()
    is_let_in = key != "" and admits(domain.decode("utf-8", "replace"), key)
    status, text = (b"200", b"OK") if is_let_in else (b"400", b"not on the allow-list")
    return [routing_id, b"", _VERSION, request_id, status, text, key.encode() if is_let_in else b"", b""]


class Gatekeeper:
    """Drained by one thread, as its descriptor becomes readable; until then handshakes wait, 2 s at most."""

    def __init__(
        self, context: "zmq.Context[zmq.Socket[bytes]]", allow_list: Callable[[], AllowList], clock: Clock
    ) -> None:
        """`allow_list` is asked at every handshake: who was revoked is refused at the next.

        Raises: InternalError where the context has a gatekeeper already.
        """
        self._allow_list = allow_list
        self._clock = clock
        self.num_refused = 0
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        try:
            self.socket.bind(_ENDPOINT)
        except zmq.ZMQError as error:
            self.socket.close(linger=0)
            raise InternalError("a context has one gatekeeper, and this one has one already") from error

    @property
    def fd(self) -> int:
        """The descriptor to watch; for a poller of ZeroMQ's, `socket`."""
        return self.socket.fileno()

    def drain(self) -> None:
        """Answer whatever has been asked, without waiting."""
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            answer = zap_answer(frames, self._admits)
            if answer is not None:
                self.socket.send_multipart(answer, zmq.NOBLOCK)

    def close(self) -> None:
        """Let nobody in any more; connections that stand are not cut."""
        self.socket.close(linger=0)

    def _admits(self, domain: str, public_key: str) -> bool:
        try:
            is_let_in = self._allow_list().admits(domain, public_key, self._clock.unix_s())
        except SageError as error:  # a list that cannot be read lets nobody in
            get_log().error("allow-list unreadable, everybody refused", why=str(error))
            is_let_in = False
        if not is_let_in:
            self.num_refused += 1
        return is_let_in
