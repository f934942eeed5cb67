"""Both ends of a connection behind CURVE, for tests: each on a context of its own, as in two processes."""

import contextlib
from collections.abc import Callable

import zmq

from cluster.runtime.allow_list import AllowedKey, AllowList, Domain, Role
from cluster.runtime.curve import ClientTrust, ServerTrust, connect, listen, peer_key, set_bounds
from cluster.runtime.gatekeeper import Gatekeeper
from cluster.runtime.handshakes import Handshake, HandshakeMonitor
from cluster.runtime.keys import CurveKeys, new_curve_keys
from sage.base.clock import ManualClock, SystemClock

WAIT_S = 10.0
HEAD = new_curve_keys()


class Server:
    """A control socket with its gatekeeper and its monitor, drained by the test: one thread, as in a node."""

    def __init__(self, host: str = "127.0.0.1", *, max_frame_bytes: int = 1_000_000, is_kept: bool = True) -> None:
        self.allowed = AllowList()
        self.list_now: Callable[[], AllowList] = lambda: self.allowed
        self.clock = ManualClock()
        self.context = zmq.Context()
        self.gatekeeper = Gatekeeper(self.context, lambda: self.list_now(), self.clock) if is_kept else None
        self.socket = self.context.socket(zmq.ROUTER)
        set_bounds(self.socket, max_frame_bytes=max_frame_bytes)
        self.monitor = HandshakeMonitor(self.socket)
        self.address = listen(self.socket, f"tcp://{host}:*", ServerTrust(HEAD, Domain.CONTROL))
        self.port = int(self.address.rpartition(":")[2])

    def admit(self, keys: CurveKeys, label: str = "alder") -> None:
        self.allowed = self.allowed.add(AllowedKey(keys.public_key, Role.NODE, label, 0.0))

    def turn(self, timeout_s: float = 0.05) -> None:
        """Wait for something and answer what libzmq asks."""
        poller = zmq.Poller()
        if self.gatekeeper is not None:
            poller.register(self.gatekeeper.socket, zmq.POLLIN)
        poller.register(self.monitor.fd, zmq.POLLIN)
        poller.register(self.socket, zmq.POLLIN)
        poller.poll(round(timeout_s * 1000))
        if self.gatekeeper is not None:
            self.gatekeeper.drain()
        self.monitor.drain()

    def message(self) -> tuple[str | None, bytes]:
        """Return the next message and by which key its sender was let in."""
        clock = SystemClock()
        until_s = clock.monotonic_s() + WAIT_S
        while clock.monotonic_s() < until_s:
            self.turn()
            if self.socket.poll(0):
                frame = self.socket.recv_multipart(copy=False)[-1]
                return peer_key(frame), frame.bytes
        raise AssertionError(f"no message within {WAIT_S} s: {self.monitor.counts}")

    def count(self, what: Handshake, at_least: int = 1) -> int:
        """Wait until it has happened so often."""
        clock = SystemClock()
        until_s = clock.monotonic_s() + WAIT_S
        while self.monitor.counts[what] < at_least and clock.monotonic_s() < until_s:
            self.turn()
        assert self.monitor.counts[what] >= at_least, self.monitor.counts
        return self.monitor.counts[what]

    def refused(self) -> int:
        """Wait until somebody was refused, for whichever reason; return how many were."""
        clock = SystemClock()
        until_s = clock.monotonic_s() + WAIT_S
        while not self.monitor.num_refused and clock.monotonic_s() < until_s:
            self.turn()
        return self.monitor.num_refused

    def close(self) -> None:
        self.monitor.close()
        self.socket.close(linger=0)
        if self.gatekeeper is not None:
            self.gatekeeper.close()
        self.context.term()


class Peer:
    """A client on a context of its own, as in another process."""

    def __init__(self, address: str, trust: ClientTrust | None) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        set_bounds(self.socket)
        self.monitor = HandshakeMonitor(self.socket)
        connect(self.socket, address, trust)

    def send(self, data: bytes) -> None:
        """Send without waiting; to a server that has refused us already there is no way any more."""
        with contextlib.suppress(zmq.Again):
            self.socket.send(data, zmq.NOBLOCK)

    def outcome(self, server: Server) -> Handshake:
        """Return what becomes of the handshake, while the server does its turns."""
        clock = SystemClock()
        until_s = clock.monotonic_s() + WAIT_S
        while not self.monitor.recent and clock.monotonic_s() < until_s:
            server.turn()
            self.monitor.drain()
        return self.monitor.recent[0]

    def close(self) -> None:
        self.monitor.close()
        self.socket.close(linger=0)
        self.context.term()
