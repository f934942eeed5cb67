"""Which Host a request may name. Knows no route.

A gateway without keys trusts whoever reaches this machine's loopback. A page on a foreign name that resolves to
127.0.0.1 (DNS rebinding) reaches it too, from the user's own browser: such a name is told apart here, and refused.
"""

import ipaddress
from collections.abc import Iterable

from gateway.errors import RequestRefused

MAX_REMEMBERED = 64


class LocalHosts:
    """Accepts IP addresses, `localhost` and names under it, with or without a port."""

    def __init__(self) -> None:
        self._accepted: set[bytes] = set()

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raise RequestRefused where a Host is missing or is not local."""
        host = host_of(headers)
        if host in self._accepted:
            return
        if not is_local(host.decode("latin-1")):
            what = f"{host[:256].decode('latin-1')!r} is no name of this machine; call 127.0.0.1 or localhost."
            raise RequestRefused(what, param="host", reason="host_not_allowed", status=403)
        if len(self._accepted) < MAX_REMEMBERED:
            self._accepted.add(host)


def host_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the Host of a request, empty where there is none."""
    return next((value for name, value in headers if name == b"host"), b"")


def is_local(host: str) -> bool:
    """Say whether a Host header names an address or `localhost`.

    >>> is_local("127.0.0.1:8000"), is_local("[::1]:8000"), is_local("app.localhost"), is_local("evil.example")
    (True, True, True, False)
    """
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name.lower() == "localhost" or name.lower().endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
