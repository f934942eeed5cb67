"""Bytes from outside, whatever they are, are a message or an InternalError."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.base.codec import Codec
from sage.base.errors import InternalError


class Asked(msgspec.Struct, frozen=True, tag="asked", forbid_unknown_fields=True):
    names: tuple[str, ...]


_GOOD = msgspec.msgpack.encode(Asked(("one", "two")))


def _message_or_none(data: bytes) -> Asked | None:
    try:
        return Codec(Asked).decode(data)
    except InternalError:
        return None


def test_a_message_survives_the_way() -> None:
    codec = Codec(Asked)
    assert codec.decode(codec.encode(Asked(("one", "two")))) == Asked(("one", "two"))


@given(st.binary(max_size=60) | st.tuples(st.integers(0, len(_GOOD) - 1), st.integers(0, 255)))
def test_any_other_bytes_are_refused_and_nothing_else_is_raised(found: bytes | tuple[int, int]) -> None:
    data = found if isinstance(found, bytes) else _GOOD[: found[0]] + bytes([found[1]]) + _GOOD[found[0] + 1 :]
    message = _message_or_none(data)
    assert message is None or isinstance(message, Asked)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x91" * 100_000, id="nested-deep"),
        pytest.param(b"\x82\xa4type\xa5asked\xa5names\xdd\xff\xff\xff\xff", id="four-billion-names"),
        pytest.param(b"\x82\xa4type\xa5asked\xa5names\x91\xa1\xff", id="broken-utf8"),
        pytest.param(b"\x82\xa4type\xa5asked\xa1\xff\x90", id="broken-utf8-key"),
    ],
)
def test_what_is_made_to_hurt_is_refused_as_no_message(data: bytes) -> None:
    with pytest.raises(InternalError):
        Codec(Asked).decode(data)
