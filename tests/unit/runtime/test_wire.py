"""Heads and frames of data messages: whole, in order, of one version, or refused."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.runtime.columns import BadFrame
from cluster.runtime.links import Barrier, Delivery, End, Grant, Idle, Link, TaskMessage
from cluster.runtime.numbering import Numbering, OutOfOrder
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.records import encode_batch
from cluster.runtime.wire import (
    MAX_PIECE_BYTES,
    WIRE_VERSION,
    Ended,
    Hello,
    NotHere,
    Outbound,
    frames_of,
    hello,
    message_of,
    read_to_connector,
    read_to_listener,
    reply,
)
from sage.base.batch import Batch
from sage.base.errors import SageError, WireMismatch
from sage.base.ids import NodeId, TaskId

LINK = Link(2, TaskId("job/source/0"), TaskId("job/sink/1"))
TYPES = RecordTypes()


def travelled(message: TaskMessage) -> TaskMessage:
    body = encode_batch(message.batch, TYPES, where="") if isinstance(message, Delivery) else ()
    head, *rest = frames_of(Outbound(message, 7, body), 3)
    came = read_to_listener(head)
    assert not isinstance(came, Hello)
    assert (came.epoch, came.number) == (7, 3)
    return message_of(came, rest, TYPES)


@pytest.mark.parametrize(
    "message", [End(LINK), Idle(LINK), Barrier(LINK, 5), Grant(LINK, 4), Delivery(LINK, Batch([1, "a"], ["k", None]))]
)
def test_a_message_comes_out_as_it_went_in(message: TaskMessage) -> None:
    assert travelled(message) == message


def test_a_batch_beyond_one_frame_travels_in_pieces() -> None:
    batch = Batch(["x" * (2 * MAX_PIECE_BYTES), b"y"])
    frames = frames_of(Outbound(Delivery(LINK, batch), 0, encode_batch(batch, TYPES, where="")), 1)
    assert max(map(len, frames)) <= MAX_PIECE_BYTES
    assert travelled(Delivery(LINK, batch)) == Delivery(LINK, batch)


def test_a_hello_says_who_speaks_and_to_whom() -> None:
    assert read_to_listener(hello(NodeId("a"), NodeId("b"))) == Hello(WIRE_VERSION, 0, "a", "b")


def test_a_peer_of_another_wire_version_is_refused_by_name() -> None:
    for head in (["hello", 9, 0, "a", "b"], ["hello", 9, {"new": "fields"}], ["new", 9]):
        with pytest.raises(WireMismatch, match=f"wire version 9 of data, this one {WIRE_VERSION}"):
            read_to_listener(msgspec.msgpack.encode(head))
    with pytest.raises(WireMismatch, match="wire version 9"):
        read_to_connector(msgspec.msgpack.encode(["welcome", 9, "a"]))


@pytest.mark.parametrize("body", [[b"more"], [b"", b""]])
def test_frames_after_a_head_that_stands_alone_are_refused(body: list[bytes]) -> None:
    with pytest.raises(BadFrame, match="stands alone"):
        message_of(Ended(WIRE_VERSION, 1, 0, 0, "a", "b"), body, TYPES)


@pytest.mark.parametrize(("pieces", "body"), [([], []), ([2], [b"one"]), ([1], [b"one", b"two"])])
def test_pieces_that_do_not_add_up_are_refused(pieces: list[int], body: list[bytes]) -> None:
    head = read_to_listener(msgspec.msgpack.encode(["batch", WIRE_VERSION, 1, 0, 0, "a", "b", pieces]))
    assert not isinstance(head, Hello)
    with pytest.raises(BadFrame):
        message_of(head, body, TYPES)


@given(st.binary(max_size=100))
def test_random_heads_are_refused_and_nothing_else_happens(data: bytes) -> None:
    for read in (read_to_listener, read_to_connector):
        with suppress(BadFrame, WireMismatch):
            read(data)


@given(st.binary(max_size=3), st.integers(0, 60), st.lists(st.binary(max_size=50), max_size=3))
def test_damaged_messages_are_refused_and_nothing_else_happens(damage: bytes, at: int, body: list[bytes]) -> None:
    batch = Batch([1, "a"])
    head = frames_of(Outbound(Delivery(LINK, batch), 0, encode_batch(batch, TYPES, where="")), 1)[0]
    with suppress(BadFrame, WireMismatch):
        came = read_to_listener(bytes(head[:at]) + damage + bytes(head[at + len(damage) :]))
        if not isinstance(came, Hello):
            message_of(came, body, TYPES)


def test_an_answer_comes_out_as_it_went_in() -> None:
    assert read_to_connector(reply(NotHere(WIRE_VERSION, "job/sink/0", 3))) == NotHere(WIRE_VERSION, "job/sink/0", 3)


def test_a_number_that_is_not_the_next_is_noticed() -> None:
    order = Numbering()
    order.check(0)
    order.check(1)
    with pytest.raises(OutOfOrder, match="came twice or late"):
        order.check(1)
    with pytest.raises(OutOfOrder, match="came where 2 was due"):
        order.check(3)
    assert issubclass(OutOfOrder, SageError)
