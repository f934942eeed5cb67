"""Answers to libzmq's questions about keys, frame by frame."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zmq.utils import z85

from cluster.runtime.gatekeeper import zap_answer

KEY = bytes(range(32))
TEXT = z85.encode(KEY).decode()


def question(*credentials: bytes, domain: bytes = b"control", mechanism: bytes = b"CURVE") -> list[bytes]:
    return [b"route", b"", b"1.0", b"7", domain, b"10.0.0.2", b"", mechanism, *credentials]


def admit_one(domain: str, public_key: str) -> bool:
    return (domain, public_key) == ("control", TEXT)


def admit_all(domain: str, public_key: str) -> bool:
    return True


def test_a_listed_key_is_let_in_and_is_the_peers_name() -> None:
    assert zap_answer(question(KEY), admit_one) == [b"route", b"", b"1.0", b"7", b"200", b"OK", TEXT.encode(), b""]


@pytest.mark.parametrize(
    "frames",
    [
        question(bytes(32)),
        question(KEY, domain=b"data"),
        question(KEY, domain=b"\xff"),
    ],
)
def test_another_key_or_domain_is_refused_without_a_name(frames: list[bytes]) -> None:
    answer = zap_answer(frames, admit_one)
    assert answer is not None
    assert (answer[3], answer[4], answer[6]) == (b"7", b"400", b"")


@pytest.mark.parametrize(
    "frames",
    [
        question(mechanism=b"NULL"),
        question(b"user", b"password", mechanism=b"PLAIN"),
        question(KEY, mechanism=b"GSSAPI"),
        question(KEY[:31]),
        question(KEY, KEY),
        question(),
    ],
)
def test_every_other_way_in_is_refused_whoever_would_be_let_in(frames: list[bytes]) -> None:
    answer = zap_answer(frames, admit_all)
    assert answer is not None
    assert answer[4] == b"400"


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_whatever_comes_is_answered_or_passed_over(frames: list[bytes]) -> None:
    answer = zap_answer(frames, admit_all)
    assert answer is None or answer[4] in (b"200", b"400")
    if answer is not None and answer[4] == b"200":
        assert frames[7] == b"CURVE"
