"""Who a call is from, by its key. Knows neither files nor routes beyond who may reach them.

Without keys, on this machine's loopback alone, everybody is the tenant `default`. Once there was a key, everybody
needs one.
"""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from gateway.errors import RequestRefused
from gateway.hosts import host_of
from gateway.keys import MAX_KEY_CHARS, NAME_PATTERN, KeyBook, Scope
from sage.base.hosts import is_local

OPEN_PATHS = frozenset({"/livez", "/readyz", "/health"})
OPEN_ON_LOOPBACK = frozenset({"/", "/metrics"})
_NAME = re.compile(NAME_PATTERN)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose account a call is on, and what its key is good for."""

    tenant: str = "default"
    scopes: frozenset[Scope] = frozenset({Scope.MODELS})


NOBODY = Caller(scopes=frozenset())


class Guard:
    """Asked for every call. `keys` are those that are good now."""

    def __init__(self, keys: Callable[[], KeyBook] = KeyBook, *, is_loopback: bool = True) -> None:
        """`is_loopback`: nobody but this machine reaches the gateway."""
        self._keys = keys
        self._is_loopback = is_loopback
        self._had_keys = not is_loopback

    def needs_keys(self) -> bool:
        """Say whether calls need a key; raises what reading the keys raises."""
        self._had_keys = self._had_keys or bool(self._keys().keys)
        return self._had_keys

    def caller(self, path: str, headers: Collection[tuple[bytes, bytes]]) -> Caller:
        """Return who calls; raises RequestRefused (401, 403)."""
        if path in OPEN_PATHS or not self.needs_keys():
            return Caller()
        if path in OPEN_ON_LOOPBACK and self._is_loopback and is_local(host_of(headers).decode("latin-1")):
            return NOBODY
        key = self._keys().find(bearer_of(headers))
        if key is None:
            what = "This key is not good here: it is unknown, or was revoked."
            raise RequestRefused(what, param="authorization", reason="invalid_api_key", status=401)
        caller = Caller(key.tenant, frozenset(key.scopes))
        if Scope.MODELS not in caller.scopes and path not in OPEN_ON_LOOPBACK:
            raise RequestRefused("This key is not for models.", param="authorization", reason="no_scope", status=403)
        return caller


def tenant_named(value: bytes, caller: Caller) -> str:
    """Return the tenant that `x-sage-tenant` names; raises RequestRefused."""
    if Scope.ADMIN not in caller.scopes:
        raise RequestRefused("x-sage-tenant needs a key of the scope admin.", param="x-sage-tenant", status=403)
    name = value.decode("latin-1")
    if not _NAME.match(name):
        raise RequestRefused("x-sage-tenant holds 1 to 128 letters, digits and ._:@+=-.", param="x-sage-tenant")
    return name


def bearer_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the key that a call shows; raises RequestRefused (401) where it shows none."""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, key = value.decode("latin-1").partition(" ")
            key = key.strip()
            if scheme.lower() == "bearer" and 0 < len(key) <= MAX_KEY_CHARS:
                return key
    what = "A key is needed: send the header authorization: Bearer KEY."
    raise RequestRefused(what, param="authorization", reason="invalid_api_key", status=401)
