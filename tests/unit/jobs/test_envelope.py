"""Envelopes: opened for whom they are meant, until when, and only as they were sealed."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.jobs.envelope import (
    LEN_NONCE_BYTES,
    MAX_ENVELOPE_BYTES,
    MAX_LIFETIME_S,
    EnvelopeVerifier,
    NoCodeShipping,
    seal,
    submitters_of,
)
from cluster.runtime.allow_list import AllowedKey, AllowList, Role
from cluster.runtime.signing import SigningKey, new_signing_key
from sage.base.errors import CodeRefused
from sage.base.ids import JobId

KEY = new_signing_key()
JOB = JobId("job-1")
NOW_S = 1_000_000.0
NONCE = bytes(LEN_NONCE_BYTES)
PAYLOAD = b"code" * 50


def sealed(payload: bytes = PAYLOAD, *, key: SigningKey = KEY, nonce: bytes = NONCE, lifetime_s: float = 60.0) -> bytes:
    return seal(payload, key, JOB, nonce=nonce, expires_unix_s=NOW_S + lifetime_s)


@pytest.fixture
def verifier() -> EnvelopeVerifier:
    return EnvelopeVerifier(lambda: {KEY.public_key})


def test_an_envelope_is_opened_for_its_job_while_it_is_good(verifier: EnvelopeVerifier) -> None:
    assert verifier.opened(sealed(), JOB, NOW_S) == PAYLOAD
    assert verifier.opened(sealed(), JOB, NOW_S + 59.9) == PAYLOAD


def test_it_is_not_opened_for_another_job(verifier: EnvelopeVerifier) -> None:
    with pytest.raises(CodeRefused, match="signed for job job-1, not for job-2"):
        verifier.opened(sealed(), JobId("job-2"), NOW_S)


@pytest.mark.parametrize("late_s", [60.0, 61.0, 1e9])
def test_it_is_not_opened_once_it_has_expired(verifier: EnvelopeVerifier, late_s: float) -> None:
    with pytest.raises(CodeRefused, match=f"expired {late_s - 60:.0f} s ago") as raised:
        verifier.opened(sealed(), JOB, NOW_S + late_s)
    assert "clocks" in raised.value.do


@pytest.mark.parametrize("lifetime_s", [MAX_LIFETIME_S + 1, float("inf"), float("nan")])
def test_one_that_is_good_for_too_long_is_refused(verifier: EnvelopeVerifier, lifetime_s: float) -> None:
    with pytest.raises(CodeRefused, match="is the most"):
        verifier.opened(sealed(lifetime_s=lifetime_s), JOB, NOW_S)


def test_who_is_not_on_the_list_submits_no_code(verifier: EnvelopeVerifier) -> None:
    with pytest.raises(CodeRefused, match="may not submit code"):
        verifier.opened(sealed(key=new_signing_key()), JOB, NOW_S)


def test_who_signs_in_anothers_name_is_refused(verifier: EnvelopeVerifier) -> None:
    thief = SigningKey(KEY.public_key, new_signing_key().secret)
    with pytest.raises(CodeRefused, match="signature"):
        verifier.opened(sealed(key=thief), JOB, NOW_S)


def test_revoking_a_submitter_holds_at_once() -> None:
    allowed = AllowList().add(AllowedKey(KEY.public_key, Role.SUBMITTER, "birch", 0.0))
    verifier = EnvelopeVerifier(lambda: submitters_of(allowed))
    assert verifier.opened(sealed(), JOB, NOW_S) == PAYLOAD
    allowed = allowed.revoke("birch")
    with pytest.raises(CodeRefused, match="may not submit"):
        verifier.opened(sealed(), JOB, NOW_S)


def test_an_envelope_is_taken_once_and_opened_as_often_as_nodes_need_it(verifier: EnvelopeVerifier) -> None:
    verifier.take(sealed(), JOB, NOW_S)
    with pytest.raises(CodeRefused, match="submitted before"):
        verifier.take(sealed(), JOB, NOW_S + 1)
    assert verifier.opened(sealed(), JOB, NOW_S + 1) == PAYLOAD
    verifier.take(sealed(nonce=b"1" * LEN_NONCE_BYTES), JOB, NOW_S + 1)


def test_what_has_expired_need_not_be_remembered(verifier: EnvelopeVerifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.jobs.envelope.MAX_REMEMBERED", 1)
    verifier.take(sealed(), JOB, NOW_S)
    later = seal(PAYLOAD, KEY, JOB, nonce=b"1" * LEN_NONCE_BYTES, expires_unix_s=NOW_S + 200)
    verifier.take(later, JOB, NOW_S + 100)
    with pytest.raises(CodeRefused, match="expired"):
        verifier.take(sealed(), JOB, NOW_S + 100)


def test_the_contents_cannot_be_changed_for_others(verifier: EnvelopeVerifier) -> None:
    header, signature, _ = msgspec.msgpack.decode(sealed())
    with pytest.raises(CodeRefused, match="not what was signed"):
        verifier.opened(msgspec.msgpack.encode((header, signature, b"evil" * 50)), JOB, NOW_S)


@given(bit=st.integers(0, len(sealed()) * 8 - 1))
@settings(max_examples=400, deadline=None)
def test_an_envelope_with_a_flipped_bit_is_always_refused(bit: int) -> None:
    envelope = bytearray(sealed())
    envelope[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CodeRefused):
        EnvelopeVerifier(lambda: {KEY.public_key}).opened(bytes(envelope), JOB, NOW_S)


@given(cut=st.integers(0, len(sealed()) - 1), more=st.binary(max_size=20))
@settings(max_examples=200, deadline=None)
def test_an_envelope_cut_short_or_grown_is_always_refused(cut: int, more: bytes) -> None:
    changed = sealed()[:cut] + more
    if changed == sealed():
        return
    with pytest.raises(CodeRefused):
        EnvelopeVerifier(lambda: {KEY.public_key}).opened(changed, JOB, NOW_S)


@given(st.one_of(st.binary(max_size=300), st.just(b"\x91" * 5000), st.just(b"\x93" + b"\xc4\0" * 3)))
@settings(max_examples=300, deadline=None)
def test_whatever_else_comes_is_refused(data: bytes) -> None:
    for verifier in (EnvelopeVerifier(lambda: {KEY.public_key}), NoCodeShipping()):
        with pytest.raises(CodeRefused):
            verifier.opened(data, JOB, NOW_S)


def test_without_code_shipping_nothing_is_opened_nor_taken() -> None:
    with pytest.raises(CodeRefused, match="code shipping is off"):
        NoCodeShipping().opened(sealed(), JOB, NOW_S)
    with pytest.raises(CodeRefused, match="code shipping is off"):
        NoCodeShipping().take(sealed(), JOB, NOW_S)


def test_too_much_is_refused_at_both_ends(verifier: EnvelopeVerifier) -> None:
    with pytest.raises(CodeRefused, match="may travel"):
        sealed(bytes(MAX_ENVELOPE_BYTES))
    with pytest.raises(CodeRefused, match="may travel"):
        verifier.opened(bytes(MAX_ENVELOPE_BYTES + 1), JOB, NOW_S)


def test_code_of_another_python_is_refused(verifier: EnvelopeVerifier, monkeypatch: pytest.MonkeyPatch) -> None:
    envelope = sealed()
    monkeypatch.setattr("cluster.jobs.envelope._this_python", lambda: "3.99")
    with pytest.raises(CodeRefused, match=r"this is 3\.99"):
        verifier.opened(envelope, JOB, NOW_S)
