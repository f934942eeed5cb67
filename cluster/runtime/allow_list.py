"""Whose keys a cluster lets in, and as what. Pure: every change makes a new list; knows neither files nor sockets.

A CURVE key is written in Z85 (40 characters), the Ed25519 key of a submitter in hex (64). A key is rotated by overlap:
add the new one under the same label, let its owner use it, revoke the old one.
"""

import re
from enum import StrEnum
from typing import Annotated, Self

import msgspec
from msgspec import Meta

from sage.base.errors import NotTrusted

MAX_LABEL_CHARS = 100

_CURVE = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_SIGNING = re.compile(r"[0-9a-f]{64}")
_Label = Annotated[str, Meta(min_length=1, max_length=MAX_LABEL_CHARS)]


class Role(StrEnum):
    """What the owner of a key may be."""

    HEAD = "head"
    NODE = "node"
    CLIENT = "client"
    SUBMITTER = "submitter"  # signs code; opens no connection


class Domain(StrEnum):
    """What a listening socket is for; it decides who may connect. That for an engine is for one node's: `only_for`."""

    CONTROL = "control"
    DATA = "data"
    ENGINE = "engine"


_ADMITTED = {
    Domain.CONTROL: frozenset({Role.NODE, Role.CLIENT}),
    Domain.DATA: frozenset({Role.HEAD, Role.NODE}),
    Domain.ENGINE: frozenset({Role.NODE}),
}


def only_for(domain: Domain, public_key: str) -> str:
    """Return the domain of a socket that the owner of one key alone may connect to."""
    return f"{domain} {public_key}"


class AllowedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key that is let in until it is revoked. `label` is what people call its owner."""

    public_key: str
    role: Role
    label: _Label
    added_unix_s: float

    def __post_init__(self) -> None:
        if not is_key_of(self.role, self.public_key):
            raise ValueError(f"no public key of a {self.role}: {self.public_key!r:.80}")


class TokenRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of a join token: the public half, from which the token cannot be had. Good once, until it expires.

    `role` is what its user becomes; `used_by` is the key that was let in by it.
    """

    id: str
    public_key: str
    role: Role
    expires_unix_s: float
    used_by: str | None = None

    def is_live(self, now_unix_s: float) -> bool:
        return self.used_by is None and now_unix_s < self.expires_unix_s


Standing = AllowedKey | TokenRecord
"""Who a peer is: somebody whom the list names, or somebody with a join token, who may only join."""


class AllowList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Each key stands at most once. A few hundred keys: searched from end to end, at handshakes only."""

    keys: tuple[AllowedKey, ...] = ()
    tokens: tuple[TokenRecord, ...] = ()

    def __post_init__(self) -> None:
        every = [key.public_key for key in self.keys] + [token.public_key for token in self.tokens]
        if len(set(every)) < len(every):
            raise ValueError("a public key stands twice")

    def standing(self, public_key: str, now_unix_s: float) -> Standing | None:
        """Return as what the owner of `public_key` is let in now, by name or by a live join token; None: not at all."""
        by_name = next((key for key in self.keys if key.public_key == public_key), None)
        return by_name or next((t for t in self.tokens if t.public_key == public_key and t.is_live(now_unix_s)), None)

    def admits(self, domain: str, public_key: str, now_unix_s: float) -> bool:
        """Say whether a socket of `domain` takes a connection of this key. A token opens the control socket only.

        A domain that names a key (`only_for`) takes no other; that of an engine must.
        """
        domain, _, only_key = domain.partition(" ")
        if domain not in tuple(Domain) or only_key != (public_key if only_key or domain == Domain.ENGINE else ""):
            return False
        match self.standing(public_key, now_unix_s):
            case AllowedKey(role=role):
                return role in _ADMITTED[Domain(domain)]
            case TokenRecord():
                return domain == Domain.CONTROL
            case None:
                return False

    def of_role(self, role: Role) -> tuple[AllowedKey, ...]:
        return tuple(key for key in self.keys if key.role is role)

    def add(self, key: AllowedKey) -> Self:
        """Let `key` in; once more under another label renames it. Raises NotTrusted where it has another role."""
        known = next((entry for entry in self.keys if entry.public_key == key.public_key), None)
        if known is not None and known.role is not key.role:
            what = f"the key of {key.label} is already that of the {known.role} {known.label}"
            raise NotTrusted(what, "One key, one role: give it a key of its own.")
        if any(token.public_key == key.public_key for token in self.tokens):
            raise NotTrusted(f"the key of {key.label} is that of a join token", "Make a key of its own.")
        others = tuple(entry for entry in self.keys if entry is not known)
        return msgspec.structs.replace(self, keys=(*others, key))

    def revoke(self, wanted: str) -> Self:
        """Drop a public key, every key of a label, or a join token by its id; raises NotTrusted where it is unknown."""
        keys = tuple(key for key in self.keys if wanted not in (key.public_key, key.label))
        tokens = tuple(token for token in self.tokens if token.id != wanted)
        if (keys, tokens) == (self.keys, self.tokens):
            labels = ", ".join(sorted({key.label for key in self.keys})) or "nobody"
            raise NotTrusted(f"no key, label or token is {wanted!r}", f"On the list: {labels}.")
        return msgspec.structs.replace(self, keys=keys, tokens=tokens)


def is_key_of(role: Role, public_key: str) -> bool:
    """Say whether `public_key` is written as a key of this role is."""
    return bool((_SIGNING if role is Role.SUBMITTER else _CURVE).fullmatch(public_key))
