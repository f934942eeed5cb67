"""One-time join tokens: how a machine without an allowed key gets in. Knows neither files nor sockets.

A token carries a CURVE secret key (256 random bits), the head's public key and its address. The head keeps the public
half on its allow-list until the token is used or expires: a handshake with that key is the proof of the token, so that
nothing of a stranger's is ever decoded, and there is no secret to compare. Whoever connects so may only ask to join;
`redeem` then puts its own key on the list and spends the token, in one change.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass, field

import msgspec
from msgspec import ValidationError

from cluster.runtime.allow_list import MAX_LABEL_CHARS, AllowedKey, AllowList, Role, TokenRecord, is_key_of
from cluster.runtime.keys import CurveKeys, curve_keys_from_secret, new_curve_keys
from sage.base.errors import InvalidRequest, TokenInvalid

LIFETIME_S = 24 * 3600.0
MAX_TOKENS = 1000
"""Tokens that are kept at most, the dead ones too."""

_PREFIX = "sage-join-1."
_MAX_CHARS = 1024
_LEN_CHECK = 4
_KEEP_DEAD_S = 7 * 24 * 3600.0  # how long it can still be said why a token is not taken
_ANOTHER = "Ask for another one: `sage-cluster token` on the head's machine."


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A token as it is shown, once. `keys` opens the head's control socket; `head_key` says that it is the head."""

    keys: CurveKeys = field(repr=False)
    head_key: str
    address: str
    role: Role
    expires_unix_s: float

    @property
    def id(self) -> str:
        return token_id(self.keys.public_key)

    def text(self) -> str:
        """Return what people copy: one word without anything that a shell minds, with a checksum."""
        body = msgspec.msgpack.encode(
            _Body(self.keys.secret_key, self.head_key, self.address, self.role, self.expires_unix_s)
        )
        return _PREFIX + _encoded(body)


class _Body(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    secret_key: str
    head_key: str
    address: str
    role: Role
    expires_unix_s: float


@dataclass(frozen=True, slots=True)
class Joiner:
    """Who joins: the keys of its own. `signing_key` is for clients that ship code."""

    public_key: str
    label: str
    signing_key: str | None = None


def issue_token(
    allowed: AllowList,
    keys: CurveKeys | None = None,
    *,
    role: Role,
    head_key: str,
    address: str,
    now_unix_s: float,
    lifetime_s: float = LIFETIME_S,
) -> tuple[AllowList, JoinToken]:
    """Return the list with a new token on it, and the token. `keys` are drawn anew where not given.

    Raises: TokenInvalid where too many are out; InvalidRequest for a role that does not join, or no lifetime.
    """
    if role not in (Role.NODE, Role.CLIENT):
        raise InvalidRequest(f"nobody joins as a {role}", "A token is for a node or a client.", param="role")
    if not lifetime_s > 0:
        raise InvalidRequest(f"a token of {lifetime_s} s is never good", "Give it more time.", param="lifetime_s")
    token = JoinToken(keys or new_curve_keys(), head_key, address, role, now_unix_s + lifetime_s)
    kept = tuple(old for old in allowed.tokens if now_unix_s < old.expires_unix_s + _KEEP_DEAD_S)
    if len(kept) >= MAX_TOKENS:
        raise TokenInvalid(f"{len(kept)} tokens are out", "Revoke some that nobody will use.")
    record = TokenRecord(token.id, token.keys.public_key, role, token.expires_unix_s)
    return msgspec.structs.replace(allowed, tokens=(*kept, record)), token


def parse_token(text: str) -> JoinToken:
    """Return the token written as `text`; raises TokenInvalid where it is cut short or none of ours."""
    text = "".join(text.split())  # a terminal may have broken it
    if not text.startswith(_PREFIX) or len(text) > _MAX_CHARS:
        raise TokenInvalid("this is no join token", f"It begins with {_PREFIX} and is shown by `sage-cluster token`.")
    try:
        found = msgspec.msgpack.decode(_checked(text[len(_PREFIX) :]), type=_Body)
        if not is_key_of(Role.HEAD, found.head_key):
            raise ValueError("it has no key of a head")
        keys = curve_keys_from_secret(found.secret_key)
    except (ValueError, ValidationError, RecursionError) as error:
        raise TokenInvalid(f"the join token is damaged: {error}", "Copy it whole, in one piece.") from error
    return JoinToken(keys, found.head_key, found.address, found.role, found.expires_unix_s)


def redeem(allowed: AllowList, token_key: str, joiner: Joiner, now_unix_s: float) -> AllowList:
    """Return the list with the joiner's own keys on it and the token spent.

    `token_key` is the public key by which the joiner's connection was let in. Raises: TokenInvalid where the token is
    unknown, used or expired; NotTrusted where the joiner's key has another role; InvalidRequest where it is none.
    """
    token = _live(allowed, token_key, now_unix_s)
    if not is_key_of(token.role, joiner.public_key) or not 0 < len(joiner.label) <= MAX_LABEL_CHARS:
        what = f"{joiner.label!r:.120} joins with {joiner.public_key!r:.80}"
        raise InvalidRequest(what, f"A label of 1 to {MAX_LABEL_CHARS} characters, and a CURVE key.")
    changed = allowed.add(AllowedKey(joiner.public_key, token.role, joiner.label, now_unix_s))
    if joiner.signing_key is not None:
        changed = changed.add(_submitter(joiner, joiner.signing_key, token, now_unix_s))
    spent = msgspec.structs.replace(token, used_by=joiner.public_key)
    return msgspec.structs.replace(changed, tokens=tuple(spent if t is token else t for t in changed.tokens))


def token_id(public_key: str) -> str:
    """Return the name of a token, which is no secret: 8 characters."""
    return hashlib.sha256(public_key.encode()).hexdigest()[:8]


def _live(allowed: AllowList, token_key: str, now_unix_s: float) -> TokenRecord:
    wanted = token_key.encode()
    token = next((t for t in allowed.tokens if hmac.compare_digest(t.public_key.encode(), wanted)), None)
    if token is None:
        raise TokenInvalid(f"join token {token_id(token_key)} is unknown here, or was revoked", _ANOTHER)
    if token.used_by is not None:
        raise TokenInvalid(f"join token {token.id} has been used", f"It is good once. {_ANOTHER}")
    if not token.is_live(now_unix_s):
        ago_s = now_unix_s - token.expires_unix_s
        raise TokenInvalid(f"join token {token.id} expired {ago_s:.0f} s ago", _ANOTHER)
    return token


def _submitter(joiner: Joiner, signing_key: str, token: TokenRecord, now_unix_s: float) -> AllowedKey:
    if token.role is not Role.CLIENT or not is_key_of(Role.SUBMITTER, signing_key):
        what = f"{joiner.label} joins as a {token.role} with signing key {signing_key!r:.80}"
        raise InvalidRequest(what, "Only a client has one: an Ed25519 key in hex.")
    return AllowedKey(signing_key, Role.SUBMITTER, joiner.label, now_unix_s)


def _encoded(body: bytes) -> str:
    check = hashlib.sha256(body).digest()[:_LEN_CHECK]
    return base64.urlsafe_b64encode(body + check).decode().rstrip("=")


def _checked(text: str) -> bytes:
    body = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))[:-_LEN_CHECK]
    if _encoded(body) != text:
        raise ValueError("its checksum is wrong")
    return body
