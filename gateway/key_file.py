"""The keys of a gateway on disk: one file that this user alone may open. Knows nothing of HTTP.

Whoever changes it replaces it whole; a gateway that runs sees that at the next request.
"""

import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from random import SystemRandom

import msgspec

from cluster.runtime.keys import default_clusters_directory
from cluster.runtime.private_files import locked, make_private_directory, read_private, write_private
from gateway.keys import GatewayKey, KeyBook, Scope, new_key, written_key
from sage.base.errors import KeysUnsafe
from sage.base.ids import new_id
from sage.base.settings import GatewaySettings

SECRET_BYTES = 32


def key_file(settings: GatewaySettings) -> "KeyFile":
    """Return the file of `gateway.keys_file`, else of the user's configuration."""
    if settings.keys_file is not None:
        return KeyFile(Path(settings.keys_file).expanduser())
    return KeyFile(default_clusters_directory(os.environ, sys.platform).parent / "gateway" / "keys.json")


class KeyFile:
    """Used by one thread; any number of processes may change the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._book = KeyBook()

    def current(self) -> KeyBook:
        """Return the keys as they are now, none where there is no file; costs a look at the file where nothing changed.

        Raises KeysUnsafe where it cannot be read, or others may open it.
        """
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            self._seen, self._book = None, KeyBook()
            return self._book
        except OSError as error:
            raise KeysUnsafe(f"{self.path} cannot be looked at: {error.strerror}") from error
        seen = found.st_mtime_ns, found.st_ino, found.st_size
        if seen != self._seen:
            self._book = self._read()
            self._seen = seen
        return self._book

    def add(self, tenant: str, scopes: tuple[Scope, ...], now_unix_s: float, note: str = "") -> tuple[GatewayKey, str]:
        """Make a key; return what is kept of it and the key itself, which is nowhere else. Raises KeysUnsafe."""
        id = new_id("key", SystemRandom(), num_chars=10).partition("-")[2]
        written = written_key(id, secrets.token_urlsafe(SECRET_BYTES))
        key = new_key(written, tenant, scopes, now_unix_s, note)
        self._change(lambda book: book.add(key))
        return key, written

    def revoke(self, id: str, now_unix_s: float) -> None:
        """Have a key be good no more; raises NotTrusted where there is none of this id, KeysUnsafe."""
        self._change(lambda book: book.revoke(id, now_unix_s))

    def _change(self, how: Callable[[KeyBook], KeyBook]) -> None:
        make_private_directory(self.path.parent)
        with locked(self.path):
            book = how(self._read())
            write_private(self.path, msgspec.json.format(msgspec.json.encode(book), indent=1))

    def _read(self) -> KeyBook:
        data = read_private(self.path)
        if data is None:
            return KeyBook()
        try:
            return msgspec.json.decode(data, type=KeyBook)
        except msgspec.MsgspecError as error:
            raise KeysUnsafe(f"{self.path} is damaged: {error}", "Restore it, or move it away and add keys.") from error
