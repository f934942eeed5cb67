"""Code in a signed envelope: who sends it, for which job, until when. Never looks at what is inside.

Everything is checked before the inside is handed out: its size, its form, the submitter, the signature, the hash of
the inside, the job, the time and the version of Python. A head also takes each envelope once only.
"""

import hashlib
import sys
from collections.abc import Callable, Collection
from typing import Protocol

import msgspec

from cluster.runtime.allow_list import AllowList, Role
from cluster.runtime.signing import SigningKey, is_signed
from sage.base.errors import CodeRefused, Overloaded, SageError
from sage.base.ids import JobId

LIFETIME_S = 600.0
MAX_LIFETIME_S = 24 * 3600.0
"""An envelope that is good for longer is refused, so that those taken once need not be remembered for ever."""
MAX_ENVELOPE_BYTES = 8 * 1024 * 1024
MAX_REMEMBERED = 100_000
LEN_NONCE_BYTES = 16

_VERSION = 1
_SIGNED_FOR = b"sage code envelope\0"  # a signature for anything else is none for this


class _Header(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    version: int
    submitter: str
    job_id: JobId
    nonce: bytes
    expires_unix_s: float
    python: str
    payload_sha256: bytes


class _Envelope(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    header: bytes
    signature: bytes
    payload: bytes


class CodeVerifier(Protocol):
    """Decides whether shipped code is opened."""

    def opened(self, envelope: bytes, job_id: JobId, at_unix_s: float) -> bytes:
        """Return what is in `envelope`; raises CodeRefused unless it may be run as `job_id`.

        `at_unix_s`: when the job was submitted; a job that is begun anew later is still the one that was signed.
        """
        ...

    def take(self, envelope: bytes, job_id: JobId, now_unix_s: float) -> None:
        """Do as `opened`, and refuse what was taken before: what a head does when a job is submitted.

        Raises: CodeRefused; Overloaded where too many are remembered.
        """
        ...


class EnvelopeVerifier:
    """Opens what listed submitters have signed."""

    def __init__(self, submitters: Callable[[], Collection[str]]) -> None:
        """`submitters`: the public keys (hex) that are allowed now; see `submitters_of`."""
        self._submitters = submitters
        self._taken: dict[bytes, float] = {}

    def opened(self, envelope: bytes, job_id: JobId, at_unix_s: float) -> bytes:
        return self._checked(envelope, job_id, at_unix_s)[1]

    def take(self, envelope: bytes, job_id: JobId, now_unix_s: float) -> None:
        header, _ = self._checked(envelope, job_id, now_unix_s)
        self._taken = {nonce: until_s for nonce, until_s in self._taken.items() if now_unix_s < until_s}
        if header.nonce in self._taken:
            raise CodeRefused(f"the code of job {job_id} was submitted before", "Submit the flow anew.")
        if len(self._taken) >= MAX_REMEMBERED:
            raise Overloaded(f"{MAX_REMEMBERED} flows with code of their own are remembered", retry_after_s=LIFETIME_S)
        self._taken[header.nonce] = header.expires_unix_s

    def _checked(self, envelope: bytes, job_id: JobId, at_unix_s: float) -> tuple[_Header, bytes]:
        parts, header = _decoded(envelope)
        if header.submitter not in self._submitters():
            what = f"the code of job {job_id} is signed by {header.submitter[:16]!r}, who may not submit code"
            raise CodeRefused(what, "Join the cluster as a client, or have the key put on its allow-list.")
        if not is_signed(header.submitter, parts.signature, _SIGNED_FOR + parts.header):
            raise CodeRefused(f"the signature of the code of job {job_id} is wrong", "It was changed on its way.")
        if hashlib.sha256(parts.payload).digest() != header.payload_sha256:
            raise CodeRefused(f"the code of job {job_id} is not what was signed", "It was changed on its way.")
        refusal = _refusal(header, job_id, at_unix_s)
        if refusal is not None:
            raise refusal
        return header, parts.payload


class NoCodeShipping:
    """Opens nothing: what `--no-code-shipping` means."""

    def opened(self, envelope: bytes, job_id: JobId, at_unix_s: float) -> bytes:
        raise shipping_is_off(f"job {job_id} brings code of its own")

    def take(self, envelope: bytes, job_id: JobId, now_unix_s: float) -> None:
        self.opened(envelope, job_id, now_unix_s)


def shipping_is_off(what: str) -> CodeRefused:
    """Return the error that says so; `what` is put before."""
    advice = "Put the flow at the top level of a file that every node has, or start the cluster with code shipping."
    return CodeRefused(f"{what}, and code shipping is off", advice)


def seal(payload: bytes, key: SigningKey, job_id: JobId, *, nonce: bytes, expires_unix_s: float) -> bytes:
    """Return `payload` in an envelope. `nonce`: LEN_NONCE_BYTES random bytes, never used twice.

    Raises: CodeRefused where it is too long to travel.
    """
    if len(payload) > MAX_ENVELOPE_BYTES // 2:
        what = f"the flow's code and data have {len(payload):,} bytes; {MAX_ENVELOPE_BYTES // 2:,} may travel"
        raise CodeRefused(what, "Let the flow read its data from files, or put it into a file that every node has.")
    header = msgspec.msgpack.encode(
        _Header(
            _VERSION, key.public_key, job_id, nonce, expires_unix_s, _this_python(), hashlib.sha256(payload).digest()
        )
    )
    return msgspec.msgpack.encode(_Envelope(header, key.sign(_SIGNED_FOR + header), payload))


def submitters_of(allowed: AllowList) -> frozenset[str]:
    """Return the keys of all who may submit code."""
    return frozenset(key.public_key for key in allowed.of_role(Role.SUBMITTER))


def _decoded(envelope: bytes) -> tuple[_Envelope, _Header]:
    if len(envelope) > MAX_ENVELOPE_BYTES:
        raise CodeRefused(f"an envelope of {len(envelope):,} bytes; {MAX_ENVELOPE_BYTES:,} may travel")
    try:
        parts = msgspec.msgpack.decode(envelope, type=_Envelope)
        header = msgspec.msgpack.decode(parts.header, type=_Header)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise CodeRefused(f"this is no envelope: {error}", "Run both sides from the same installation.") from error
    return parts, header


def _refusal(header: _Header, job_id: JobId, at_unix_s: float) -> SageError | None:
    """Return what is wrong with a header that is signed."""
    if header.version != _VERSION:
        return CodeRefused(
            f"envelope version {header.version}; we speak {_VERSION}", "Run the same version everywhere."
        )
    if header.job_id != job_id:
        return CodeRefused(f"this code is signed for job {header.job_id}, not for {job_id}", "Submit the flow anew.")
    if len(header.nonce) != LEN_NONCE_BYTES:
        return CodeRefused(f"the nonce of job {job_id} has {len(header.nonce)} bytes, not {LEN_NONCE_BYTES}")
    late_s = at_unix_s - header.expires_unix_s
    if not -MAX_LIFETIME_S <= late_s < 0.0:
        what = f"the code of job {job_id} expired {late_s:.0f} s ago"
        if not late_s >= 0.0:
            what = f"the code of job {job_id} is good for {-late_s:.0f} s; {MAX_LIFETIME_S:.0f} is the most"
        return CodeRefused(what, "Submit the flow anew, and see whether both machines' clocks are right.")
    if header.python != _this_python():
        what = f"the code of job {job_id} was made by Python {header.python}, and this is {_this_python()}"
        return CodeRefused(what, "Use one version of Python everywhere, or put the flow into a file that nodes have.")
    return None


def _this_python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
