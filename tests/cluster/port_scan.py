"""Scan a process as a stranger would: every port it listens on, in every way that needs no key.

`scan_process(pid)` returns what was got, port by port; of a cluster that keeps strangers out, nothing. What a
ZeroMQ socket shows everybody, its greeting (the protocol's version and `CURVE`), is no finding.
"""

import contextlib
import socket as sockets
import struct
from dataclasses import dataclass
from functools import partial

import psutil
import zmq

DEADLINE_S = 3.0  # a ZeroMQ socket of ours hangs up after 2
_GREETING_START = b"\xff\0\0\0\0\0\0\0\1\x7f"
_LEN_GREETING = 64
_CURVE_GREETING = _GREETING_START + b"\3\0" + b"CURVE".ljust(20, b"\0") + bytes(32)
_MECHANISM = slice(12, 32)
_ERROR = b"\x04\x07\x05ERROR\x00"
_ENDS = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
    zmq.EVENT_DISCONNECTED,
    zmq.EVENT_CLOSED,
)


@dataclass(frozen=True, slots=True)
class Port:
    """Where a process listens."""

    pid: int
    host: str
    port: int

    def reachable(self) -> tuple[str, int]:
        """Return where to connect: a socket open to all is reached over loopback."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host), self.port

    def url(self) -> str:
        host, port = self.reachable()
        return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def listening_ports(pid: int) -> tuple[Port, ...]:
    """Return every TCP port of a process and of all below it."""
    process = psutil.Process(pid)
    found = {
        Port(each.pid, connection.laddr.ip, connection.laddr.port)
        for each in (process, *process.children(recursive=True))
        for connection in each.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    return tuple(sorted(found, key=lambda port: (port.port, port.host)))


def scan_process(pid: int, server_key: str | None = None) -> dict[Port, list[str]]:
    """Return, by port, what a stranger got from it: empty lists where that was nothing.

    `server_key`: a public key that somebody told the stranger.
    """
    return {port: scan_port(port, server_key) for port in listening_ports(pid)}


def scan_port(port: Port, server_key: str | None = None) -> list[str]:
    """Try every way in that needs no key of the cluster's; return what was got by it."""
    own = own_public, _ = zmq.curve_keypair()
    tries = {
        "the greeting": partial(_greeting, port),
        "an HTTP request": partial(_raw, port, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        "random bytes": partial(_raw, port, bytes(range(256))),
        "a greeting and random bytes": partial(_raw, port, _CURVE_GREETING + bytes(range(256))),
        "a frame of 2^62 bytes": partial(_raw, port, _CURVE_GREETING + b"\x02" + (1 << 62).to_bytes(8, "big")),
        "a command that lies": partial(_raw, port, _CURVE_GREETING + b"\x04\xff\x05HELLO" + bytes(200)),
        "a ZeroMQ client without keys": partial(_shaken, port, zmq.DEALER, None, own_public),
        "a subscriber without keys": partial(_shaken, port, zmq.SUB, None, own_public),
        "a client that guesses the server's key": partial(_shaken, port, zmq.DEALER, own, own_public),
    }
    if server_key is not None:
        told = partial(_shaken, port, zmq.DEALER, own, server_key.encode())
        tries["a client that was told the server's key"] = told
    return [f"{name}: {got}" for name, attempt in tries.items() if (got := attempt())]


def _greeting(port: Port) -> str:
    """Return what the other end says to who has no keys, if that is not a CURVE greeting."""
    return _raw(port, _GREETING_START + b"\3\0" + b"NULL".ljust(20, b"\0") + bytes(32))


def _raw(port: Port, data: bytes) -> str:
    """Return what comes back for `data` but a CURVE greeting, whole or not, and a ZMTP error without a word."""
    with sockets.create_connection(port.reachable(), DEADLINE_S) as connection:
        connection.sendall(data)
        said, is_held = _said(connection)
    if is_held:
        return f"it held the line for {DEADLINE_S} s"
    is_greeting = _GREETING_START.startswith(said[: len(_GREETING_START)])
    mechanism = said[_MECHANISM].rstrip(b"\0")
    is_kept = b"CURVE".startswith(mechanism)  # shorter where it hung up in the middle
    return "" if is_greeting and is_kept and said[_LEN_GREETING:] in (b"", _ERROR) else repr(said[:100])


def _said(connection: sockets.socket) -> tuple[bytes, bool]:
    """Return all that comes until the other end hangs up, as it must, and whether it did not."""
    said = b""
    try:
        while data := connection.recv(4096):
            said += data
    except ConnectionError:
        return said, False
    except TimeoutError:
        return said, True
    return said, False


def _shaken(port: Port, kind: int, keys: tuple[bytes, bytes] | None, server_key: bytes) -> str:
    """Return what a client without a listed key got: a handshake, a message, or no refusal in time."""
    context = zmq.Context()
    client = context.socket(kind)
    client.linger = 0
    client.ipv6 = ":" in port.host
    if kind == zmq.SUB:
        client.subscribe(b"")
    if keys is not None:
        client.curve_publickey, client.curve_secretkey = keys
        client.curve_serverkey = server_key
    monitor = client.get_monitor_socket(zmq.EVENT_ALL)
    try:
        client.connect(port.url())
        if kind != zmq.SUB:
            with contextlib.suppress(zmq.Again):  # it may have been refused already
                client.send(b"who is there?", zmq.NOBLOCK)
        return _outcome(monitor) or (f"a message: {client.recv()!r}" if client.poll(0) else "")
    finally:
        client.disable_monitor()
        monitor.close(linger=0)
        client.close(linger=0)
        context.term()


def _outcome(monitor: "zmq.Socket[bytes]") -> str:
    while monitor.poll(round(DEADLINE_S * 1000)):
        (event,) = struct.unpack_from("=H", monitor.recv_multipart()[0])
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            return "a handshake"
        if event in _ENDS:
            return ""
    return f"no refusal in {DEADLINE_S} s"
