"""Addresses of sockets: which are open to other machines, and what must hold for one to be listened on. Pure."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from sage.base.errors import ConfigInvalid, KeysUnsafe
from sage.base.hosts import is_loopback

_TCP = re.compile(r"tcp://(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^\[\]:/;]+)):(?P<port>\d{1,5}|\*)")
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """`host` is without brackets; `port` is None for any free one."""

    host: str
    port: int | None

    @property
    def is_loopback(self) -> bool:
        """Say whether this machine alone can reach it. A name may mean anything, `localhost` apart."""
        return is_loopback(self.host)

    @property
    def is_ipv6(self) -> bool:
        """Say whether it is written as an IPv6 address; what a name leads to is not known here."""
        return ":" in self.host


@dataclass(frozen=True, slots=True)
class IpcAddress:
    """A socket in the file system; `path` is where."""

    path: Path


Address = TcpAddress | IpcAddress


def parse_address(text: str) -> Address:
    """Return what `tcp://HOST:PORT`, `tcp://[IPV6]:PORT` or `ipc://PATH` means; raises ConfigInvalid for all else.

    >>> parse_address("tcp://[::1]:7077")
    TcpAddress(host='::1', port=7077)
    """
    if text.startswith("ipc:///"):
        return IpcAddress(Path(text.removeprefix("ipc://")))
    match = _TCP.fullmatch(text)
    if match is None:
        raise ConfigInvalid(f"{text!r} is no address", "Write tcp://HOST:PORT or ipc:///PATH.", param="address")
    port = None if match["port"] == "*" else int(match["port"])
    if port is not None and port > _MAX_PORT:
        raise ConfigInvalid(f"{text!r}: there is no port {port}", f"Ports end at {_MAX_PORT}.", param="address")
    if match["v6"] is not None and not _is_ipv6(match["v6"]):
        raise ConfigInvalid(f"{text!r}: no IPv6 address stands in the brackets", param="address")
    return TcpAddress(match["v6"] or match["host"], port)


def check_bind(text: str, *, has_keys: bool) -> Address:
    """Return the address if it may be listened on; raises KeysUnsafe where it is open to others and there are no keys.

    Without keys whoever reaches the port could submit code. Raises ConfigInvalid where it is no address.
    """
    address = parse_address(text)
    if isinstance(address, TcpAddress) and not address.is_loopback and not has_keys:
        raise KeysUnsafe(
            f"{text} can be reached from other machines, and there are no keys to tell friend from stranger",
            "Start it with the keys of a cluster (`sage-cluster start` makes them), or listen on 127.0.0.1.",
        )
    return address


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False
