"""A cluster's keys on this machine: key pairs, the allow-list, where the head is. Knows no socket.

`CLUSTERS/NAME/` is of mode 0700 and its files of 0600; what others may open is refused, not used:

    head.curve, node.curve, ...   a CURVE key pair each
    submitter.sign                the Ed25519 key that signs code
    allow_list.json               whom the head lets in, and the join tokens
    head.json                     the head as a node or a client knows it: its address and its pinned key
"""

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import zmq

from cluster.runtime.allow_list import AllowedKey, AllowList, Role, is_key_of
from cluster.runtime.private_files import locked, make_private_directory, read_private, write_private
from cluster.runtime.signing import SigningKey, new_signing_key, signing_key_from_secret
from sage.base.errors import ConfigInvalid, KeysUnsafe
from sage.base.settings import ClusterSettings

V = TypeVar("V")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class CurveKeys:
    """A CURVE key pair in Z85; the secret half is never shown."""

    public_key: str
    secret_key: str = field(repr=False)


class KnownHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a cluster's head listens, and its public key: whoever has another key there is not the head."""

    address: str
    public_key: str

    def __post_init__(self) -> None:
        if not is_key_of(Role.HEAD, self.public_key):
            raise ValueError(f"no public key of a head: {self.public_key!r:.80}")


class _SecretFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    secret_key: str


class ClusterKeys:
    """What is kept of one cluster; may be used by several processes at a time."""

    def __init__(self, directory: Path) -> None:
        """Make `directory` where it is missing; raises KeysUnsafe where others may enter it."""
        self.directory = make_private_directory(directory)
        self.allow_list = AllowListFile(directory / "allow_list.json")

    def curve(self, name: str) -> CurveKeys:
        """Return the key pair of an identity (`head`, `client`, `node-2`), made at its first use. Raises KeysUnsafe."""
        path = self.directory / f"{checked_name(name)}.curve"
        data = _made_once(path, lambda: msgspec.json.encode(_SecretFile(new_curve_keys().secret_key)))
        return _loaded(path, data, _curve_from_file)

    def has_curve(self, name: str) -> bool:
        """Say whether an identity has a key pair already."""
        return (self.directory / f"{checked_name(name)}.curve").exists()

    def signing(self) -> SigningKey:
        """Return the key that signs this user's code, made at its first use. Raises KeysUnsafe."""
        path = self.directory / "submitter.sign"
        data = _made_once(path, lambda: msgspec.json.encode(_SecretFile(new_signing_key().secret.hex())))
        return _loaded(path, data, _signing_from_file)

    def admit_self(self, label: str, now_unix_s: float) -> None:
        """Let this user in as a client and as a submitter: what the head does for whoever starts it."""
        client = AllowedKey(self.curve("client").public_key, Role.CLIENT, label, now_unix_s)
        submitter = AllowedKey(self.signing().public_key, Role.SUBMITTER, label, now_unix_s)
        self.allow_list.change(lambda allowed: allowed.add(client).add(submitter))

    def head(self) -> KnownHead | None:
        """Return the head that was remembered; None where this machine has joined none. Raises KeysUnsafe."""
        path = self.directory / "head.json"
        data = read_private(path)
        return None if data is None else _loaded(path, data, lambda d: msgspec.json.decode(d, type=KnownHead))

    def remember_head(self, head: KnownHead) -> None:
        write_private(self.directory / "head.json", msgspec.json.encode(head))


class AllowListFile:
    """An allow-list on disk. Other processes may change it: whoever asks next sees it, without being told."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._data: bytes | None = None
        self._list = AllowList()

    def current(self) -> AllowList:
        """Return the list as it is now, empty where there is none; the same value as before where nothing changed.

        Costs the reading of a small file. Raises KeysUnsafe.
        """
        data = read_private(self._path)
        if data != self._data:
            self._list = self._decoded(data)
            self._data = data
        return self._list

    def change(self, how: Callable[[AllowList], AllowList]) -> AllowList:
        """Replace the list by `how` of it, one process at a time; where `how` raises, nothing changes."""
        with locked(self._path):
            changed = how(self._decoded(read_private(self._path)))
            write_private(self._path, msgspec.json.format(msgspec.json.encode(changed), indent=1))
        return changed

    def _decoded(self, data: bytes | None) -> AllowList:
        return AllowList() if data is None else _loaded(self._path, data, _allow_list_from_file)


def open_keys(name: str, settings: ClusterSettings) -> ClusterKeys:
    """Return the keys of a cluster; raises ConfigInvalid where that is no name, KeysUnsafe where others see them."""
    return ClusterKeys(clusters_directory(settings) / checked_name(name))


def known_heads(settings: ClusterSettings) -> dict[str, KnownHead]:
    """Return, by name of the cluster, every head that this user's nodes and clients know."""
    found: dict[str, KnownHead] = {}
    for path in sorted(clusters_directory(settings).glob("*/head.json")):
        head = ClusterKeys(path.parent).head()
        if head is not None:
            found[path.parent.name] = head
    return found


def clusters_directory(settings: ClusterSettings) -> Path:
    """Return the folder of all clusters' keys: that of the settings, by default the user's configuration."""
    if settings.keys_dir is not None:
        return Path(settings.keys_dir).expanduser()
    return default_clusters_directory(os.environ, sys.platform)


def default_clusters_directory(environ: Mapping[str, str], platform: str) -> Path:
    """Return `$XDG_CONFIG_HOME/sage/clusters`, else that of the platform's folder of settings."""
    named = environ.get("XDG_CONFIG_HOME")
    if named:
        return Path(named) / "sage" / "clusters"
    home = Path("~").expanduser()
    return (
        (home / "Library" / "Application Support" if platform == "darwin" else home / ".config") / "sage" / "clusters"
    )


def new_curve_keys() -> CurveKeys:
    """Draw a key pair from the system's randomness."""
    public_key, secret_key = zmq.curve_keypair()
    return CurveKeys(public_key.decode(), secret_key.decode())


def curve_keys_from_secret(secret_key: str) -> CurveKeys:
    """Return the whole pair; raises ValueError where `secret_key` is no key in Z85."""
    if not is_key_of(Role.NODE, secret_key):
        raise ValueError("no CURVE key")
    try:
        return CurveKeys(zmq.curve_public(secret_key.encode()).decode(), secret_key)
    except zmq.ZMQError as error:
        raise ValueError("no CURVE key") from error


def checked_name(name: str) -> str:
    """Return `name` if a file may be called so: it leads nowhere else. Raises ConfigInvalid."""
    if not _NAME.fullmatch(name):
        what = f"{name!r:.80} is no name of a cluster or of one of its keys"
        raise ConfigInvalid(what, "Letters, digits, dots, dashes and underscores, 64 at most.", param="name")
    return name


def _made_once(path: Path, make: Callable[[], bytes]) -> bytes:
    data = read_private(path)
    if data is None:
        write_private(path, make(), replace=False)  # another process may have been faster: its keys are then ours
        data = read_private(path)
    if data is None:
        raise KeysUnsafe(f"{path} vanished while it was made", "See what cleans up there.")
    return data


def _loaded(path: Path, data: bytes, decode: Callable[[bytes], V]) -> V:
    try:
        return decode(data)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        what = f"{path} is damaged: {error}"
        raise KeysUnsafe(what, "Put back a copy of it, or move it away to begin anew.") from error


def _curve_from_file(data: bytes) -> CurveKeys:
    return curve_keys_from_secret(msgspec.json.decode(data, type=_SecretFile).secret_key)


def _signing_from_file(data: bytes) -> SigningKey:
    return signing_key_from_secret(bytes.fromhex(msgspec.json.decode(data, type=_SecretFile).secret_key))


def _allow_list_from_file(data: bytes) -> AllowList:
    return msgspec.json.decode(data, type=AllowList)
