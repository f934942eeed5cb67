"""What a peer that means harm may send as a batch: BadFrame or nothing comes of it, and no memory is asked for."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.runtime.columns import MAX_DEPTH, BadFrame
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.records import decode_batch, encode_batch
from sage.base.batch import Batch
from tests.unit.runtime.record_samples import RECORDS, TYPES, Bare, Point


def read(*buffers: bytes) -> None:
    """Read what a peer sent: BadFrame or nothing may come of it."""
    with suppress(BadFrame):
        decode_batch(list(buffers), TYPES)


@given(st.lists(st.binary(max_size=200), max_size=3))
def test_random_bytes_are_refused_and_nothing_else_happens(buffers: list[bytes]) -> None:
    read(*buffers)


@given(st.lists(RECORDS, max_size=5), st.data())
@settings(max_examples=300)
def test_damaged_batches_are_refused_or_read_and_nothing_else_happens(values: list[Any], data: st.DataObject) -> None:
    buffers = [bytearray(buffer) for buffer in encode_batch(Batch(values), TYPES, where="step x")]
    for _ in range(data.draw(st.integers(1, 4))):
        buffer = data.draw(st.sampled_from([buffer for buffer in buffers if buffer]))
        buffer[data.draw(st.integers(0, len(buffer) - 1))] = data.draw(st.integers(0, 255))
    read(*map(bytes, buffers[: data.draw(st.integers(0, len(buffers)))]))


SCALAR_NODES = st.just(["p", [1, 2]]) | st.just(["p", []]) | st.just(["b", "bytes", [b"\xff"]])
NUMBERS = st.integers(0, 3) | st.sampled_from([2**31, 2**40])


def hostile(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    kinds = st.sampled_from(["list", "tuple", "set", "frozenset", "array", "scalar", "date", "datetime"])
    numbers = NUMBERS | st.lists(NUMBERS, max_size=3)
    inners = st.lists(inner, max_size=3)
    names = st.sampled_from(sorted([*TYPES.classes, *TYPES.enums, "os:system"]))
    dtypes = st.sampled_from(["<f4", "|O", "<U9", "<M8[Y]", "<U0", "(9,9)f8", "<f4,<f4", "|b1"])
    return (
        st.tuples(st.just("i"), kinds, numbers, inner)
        | st.tuples(st.just("r"), inners)
        | st.tuples(st.just("d"), st.lists(st.text(max_size=2), max_size=3), inners)
        | st.tuples(st.just("k"), st.lists(NUMBERS, max_size=3), inner, inner)
        | st.tuples(st.just("o"), names, NUMBERS, inners)
        | st.tuples(st.just("e"), names, st.just(["RED"]))
        | st.tuples(st.just("m"), kinds, st.lists(st.text(max_size=8), max_size=2))
        | st.tuples(st.just("x"), st.lists(NUMBERS, max_size=3), inners)
        | st.tuples(
            st.just("a"),
            kinds,
            dtypes,
            NUMBERS,
            st.lists(st.lists(NUMBERS, max_size=3), max_size=3),
            NUMBERS,
            st.booleans(),
        )
    )


@given(st.recursive(SCALAR_NODES, hostile, max_leaves=6), st.binary(max_size=64))
@settings(max_examples=400)
def test_columns_that_do_not_fit_are_refused_and_ask_for_no_memory(column: Any, buffer: bytes) -> None:
    read(msgspec.msgpack.encode([column, None]), buffer)
    read(msgspec.msgpack.encode([["p", []], column]), buffer)


def test_depth_is_bounded_on_the_way_in() -> None:
    column: Any = ["p", [1]]
    for _ in range(MAX_DEPTH + 1):
        column = ["i", "list", 1, column]
    with pytest.raises(BadFrame, match="deeper than 32"):
        decode_batch([msgspec.msgpack.encode([column, None])], TYPES)
    with pytest.raises(BadFrame):
        decode_batch([b"\x92" + b"\x94\xa1i\xa4list\x01" * 100_000], TYPES)


def test_a_message_cannot_ask_for_more_memory_than_it_paid_for() -> None:
    empty = ["i", "set", [0] * 1000, ["p", []]]
    for column in (
        ["o", f"{Bare.__module__}:Bare", 2**40, []],
        ["a", "array", "<f8", 2**40, [[0]], 0, True],
        ["x", [0] * 2100, [empty] * 2100],
    ):
        with pytest.raises(BadFrame, match=r"containers|choices"):
            decode_batch([msgspec.msgpack.encode([column, None]), b""], TYPES)


def test_a_key_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(BadFrame, match="unhashable"):
        decode_batch([msgspec.msgpack.encode([["p", [1]], ["i", "list", 1, ["p", [1]]]])], TYPES)


def test_a_class_outside_of_the_table_is_refused() -> None:
    buffers = encode_batch(Batch([Point(1.0, 2)]), TYPES, where="step x")
    with pytest.raises(BadFrame, match="Point"):
        decode_batch(buffers, RecordTypes())
