"""Keys of a gateway: whose they are and what for. Pure: every change makes a new value; knows neither files nor HTTP.

A key is written `sage-ID-SECRET`. What is kept is its SHA-256 alone: the secret has 256 random bits, so that no slow
hash is needed against guessing, and a stolen file opens nothing.
"""

import hashlib
import hmac
from enum import StrEnum
from typing import Annotated, Self

import msgspec
from msgspec import Meta

from sage.base.errors import NotTrusted

PREFIX = "sage"
MAX_KEY_CHARS = 256
NAME_PATTERN = r"^[A-Za-z0-9._:@+=-]{1,128}\Z"
"""What a tenant may be called by a key or a header: it becomes a word of logs and of other systems."""

_Name = Annotated[str, Meta(pattern=NAME_PATTERN)]


class Scope(StrEnum):
    """What a key is good for."""

    MODELS = "models"
    ADMIN = "admin"  # to be any tenant, and the administration


class GatewayKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`sha256`: of the whole key, in hex. `note`: what it is for, for people."""

    id: str
    tenant: _Name
    scopes: tuple[Scope, ...]
    sha256: str
    created_unix_s: float
    note: str = ""
    revoked_unix_s: float | None = None

    @property
    def is_live(self) -> bool:
        return self.revoked_unix_s is None


class KeyBook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All keys there ever were; revoked ones stay, so that a gateway that had keys never opens itself again."""

    keys: tuple[GatewayKey, ...] = ()

    def has_live(self, scope: Scope | None = None) -> bool:
        """Say whether any key is good, for `scope` if one is given."""
        return any(key.is_live and (scope is None or scope in key.scopes) for key in self.keys)

    def find(self, written: str) -> GatewayKey | None:
        """Return the good key that is written so; None for any other.

        Takes as long whether an id is unknown or a secret wrong.
        """
        sha256 = hashlib.sha256(written.encode("utf-8", "replace")).hexdigest()
        id = written.split("-", 2)[1] if written.count("-") >= 2 else ""
        key = next((key for key in self.keys if key.id == id), None)
        is_same = hmac.compare_digest(sha256, key.sha256 if key is not None else "0" * 64)
        return key if is_same and key is not None and key.is_live else None

    def add(self, key: GatewayKey) -> Self:
        return msgspec.structs.replace(self, keys=(*self.keys, key))

    def revoke(self, id: str, now_unix_s: float) -> Self:
        """Have a key be good no more; once revoked it stays as it was. Raises NotTrusted where there is none."""
        if not any(key.id == id for key in self.keys):
            known = ", ".join(key.id for key in self.keys if key.is_live) or "none"
            raise NotTrusted(f"no key has the id {id!r}", f"Keys that are good: {known}.", param="id")
        keys = (
            msgspec.structs.replace(key, revoked_unix_s=now_unix_s) if key.id == id and key.is_live else key
            for key in self.keys
        )
        return msgspec.structs.replace(self, keys=tuple(keys))


def written_key(id: str, secret: str) -> str:
    """Return a key as its owner sends it."""
    return f"{PREFIX}-{id}-{secret}"


def new_key(written: str, tenant: str, scopes: tuple[Scope, ...], now_unix_s: float, note: str = "") -> GatewayKey:
    """Return what is kept of a key; raises NotTrusted for a name that is none."""
    sha256 = hashlib.sha256(written.encode()).hexdigest()
    key = GatewayKey(written.split("-", 2)[1], tenant, scopes, sha256, now_unix_s, note)
    try:
        return msgspec.convert(msgspec.to_builtins(key), GatewayKey)  # looks at the name
    except msgspec.ValidationError as error:
        what = f"{tenant!r:.200} is no name of a tenant"
        raise NotTrusted(what, "1 to 128 letters, digits and ._:@+=-", param="tenant") from error
