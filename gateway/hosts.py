"""Which Host a request may name: foreign names of this machine are refused (`sage.base.hosts`). Knows no route."""

from collections.abc import Iterable

from gateway.errors import RequestRefused
from sage.base.hosts import is_local

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
