"""Records to bytes and back: equal and of the same type, or refused by name; and nothing else whatever comes."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.runtime.columns import MAX_CONTAINERS, MAX_DEPTH
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.records import decode_batch, encode_batch
from sage.base.batch import Batch
from sage.base.errors import FlowInvalid, RecordUnsendable
from tests.unit.runtime.record_samples import (
    KEYS,
    NUMPY,
    RECORDS,
    SCALARS,
    TYPES,
    Access,
    Bare,
    Colour,
    Counted,
    Event,
    Named,
    Point,
)


class Attributes:
    """Whose dict shares its keys with those of others."""

    def __init__(self, number: int) -> None:
        self.number = number
        if number % 3:
            self.words = ["a", "b"]


def travelled(values: list[Any], keys: list[Any] | None = None, types: RecordTypes = TYPES) -> Batch:
    return decode_batch(encode_batch(Batch(values, keys), types, where="step x"), types)


def same(left: Any, right: Any) -> bool:
    """Say whether both are equal and of the same types all through; NaN is itself."""
    return told(left) == told(right)


def told(value: Any) -> str:
    """Return a text that only equal values of the same types have."""
    kind = type(value).__qualname__
    match value:
        case np.ndarray() | np.generic():
            return f"{kind} {value.dtype.str} {value.shape} {value.tobytes().hex()}"
        case list() | tuple():
            return f"{kind} [{', '.join(map(told, value))}]"
        case set() | frozenset():
            return f"{kind} [{', '.join(sorted(map(told, value)))}]"
        case dict():
            return f"{kind} [{', '.join(f'{told(key)}: {told(item)}' for key, item in value.items())}]"
        case Point(x, y):
            return f"{kind} {told((x, y))}"
        case msgspec.Struct():
            return f"{kind} {told(msgspec.structs.astuple(value))}"
        case _:
            return f"{kind} {value!r}"


@given(st.lists(RECORDS, max_size=8))
def test_whatever_may_travel_comes_out_equal_and_of_the_same_type(values: list[Any]) -> None:
    assert same(travelled(values).values, values)


@given(st.sampled_from([SCALARS, KEYS, NUMPY, RECORDS]).flatmap(lambda one: st.lists(one, min_size=1, max_size=20)))
def test_records_of_one_sort_do_too(values: list[Any]) -> None:
    assert same(travelled(values).values, values)


@given(st.lists(st.tuples(KEYS, SCALARS), max_size=8))
def test_keys_travel_beside_their_records(pairs: list[tuple[Any, Any]]) -> None:
    came = travelled([value for _, value in pairs], [key for key, _ in pairs])
    assert came.keys is not None
    assert same(list(zip(came.keys, came.values, strict=True)), pairs)


@pytest.mark.parametrize(
    "make",
    [
        lambda i: {"id": i, "text": f"word {i}", "value": i / 2, "tags": ["a", str(i)], "ok": i % 2 == 0},
        lambda i: {f"field {n}": i for n in range(20)},
        lambda i: {"id": i} if i % 2 else {"id": i, "more": None},
        lambda i: (f"word {i}", i),
        lambda i: ("word", {"n": (i, [i])}),
        lambda i: [i] * (i % 3),
        lambda i: [[i, i], [i, i]],
        lambda i: None if i % 3 else (i, "x"),
        lambda i: {i, str(i)},
        lambda i: Event(i, ["a"], Colour.BLUE if i % 2 else None),
        lambda i: Named(name=str(i), size=i),
        lambda i: Bare(),
        lambda i: Point(float(i), [Point(1.0, i)]),
        lambda i: {"vector": np.full(3, i, np.float32), "label": np.float64(i)},
        lambda i: np.full((i % 4, 2), i),
        lambda i: {},
        lambda i: {i: "a number for a key"},
        lambda i: {"id": i, 1: ["a number for a key"]},
        lambda i: {f"field {i + n}": [n] if n % 2 else n for n in range(i % 4)},
        lambda i: vars(Attributes(i)),
        lambda i: (),
    ],
)
def test_uniform_records_travel(make: Callable[[int], Any]) -> None:
    values = [make(i) for i in range(50)]
    assert same(travelled(values).values, values)


@pytest.mark.parametrize(
    "odd",
    [
        {"b": [2], "a": 1},  # in another order
        {"a": 1, "c": [2]},
        {"a": 1},
        {"a": 1, "b": [2], "c": 3},
        {"a": 1, 2: [2]},
        {"a": (1,), "b": [2]},
        {"a": 1, "b": [(2,)]},
        {"a": 1, "b": [[2]]},
        {"a": Colour.RED, "b": [2]},
        {"a": 2**70, "b": [2]},
    ],
    ids=str,
)
@pytest.mark.parametrize("at", [0, 1, 9])
def test_one_dict_unlike_the_others_comes_out_as_it_was(odd: dict[Any, Any], at: int) -> None:
    values: list[dict[Any, Any]] = [{"a": number, "b": ["text", None]} for number in range(9)]
    values.insert(at, odd)
    assert told(list(travelled(values).values)) == told(values)


def test_a_dataclass_is_not_made_a_second_time() -> None:
    counted = Counted(["a"])
    (came,) = travelled([counted]).values
    assert came == counted
    assert came.words == ["a", "the end"]


def test_large_arrays_are_not_copied_on_either_side() -> None:
    array = np.arange(100_000)
    buffers = encode_batch(Batch([array, 1]), TYPES, where="step x")
    assert np.shares_memory(np.frombuffer(buffers[1], np.uint8), array)
    writable = [bytearray(buffer) for buffer in buffers]
    came = decode_batch([memoryview(buffer) for buffer in writable], TYPES).values[0]
    assert np.shares_memory(came, np.frombuffer(writable[1], np.uint8))
    assert came.flags.writeable


def test_many_small_arrays_share_one_buffer() -> None:
    buffers = encode_batch(Batch([np.arange(8) for _ in range(100)]), TYPES, where="step x")
    assert len(buffers) == 2


class Stranger:
    pass


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (Stranger(), "Stranger"),
        ({"a": [1, {"b": Stranger()}]}, r"Stranger at record\[\.\.\.\]"),
        (Point(1.0, {1j: 2}), r"builtins.complex at record\.y as a key"),
        (Text("a"), "Text"),
        (Access.READ | Access.WRITE, "no single member"),
        (datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Paris")), "Europe/Paris"),
        (datetime(2026, 1, 1, tzinfo=timezone(timedelta(microseconds=1))), "whole number of seconds"),
        (np.array([object()]), "ndarray of dtype object"),
        (np.zeros(2, "i4,f4"), "ndarray of dtype"),
        (np.str_("padded\0"), "numpy.str_"),
        (Point.__new__(Point), "not complete"),
        (len, "builtin_function_or_method"),
    ],
)
def test_what_cannot_travel_is_refused_with_its_type_place_and_step(value: Any, why: str) -> None:
    with pytest.raises(RecordUnsendable, match=f"step x sends .*{why}"):
        travelled([1, value, "x"])


def test_the_field_of_uniform_records_is_named() -> None:
    with pytest.raises(RecordUnsendable, match=r"complex at record\['a'\]\[1\]"):
        travelled([{"a": (1, 1j), "b": 2} for _ in range(10)])


@pytest.mark.parametrize("at", [0, 8])
def test_a_key_of_a_subclass_of_text_is_refused(at: int) -> None:
    values: list[dict[str, Any]] = [{"a": 1, "b": [2]} for _ in range(9)]
    values[at] = {Text("a"): 1, "b": [2]}
    with pytest.raises(RecordUnsendable, match=r"Text at record as a key"):
        travelled(values)


@pytest.mark.parametrize("at", [0, 8])
def test_a_value_of_a_subclass_in_a_dict_is_refused(at: int) -> None:
    values: list[dict[str, Any]] = [{"a": 1, "b": "text"} for _ in range(9)]
    values[at] = {"a": 1, "b": Text("text")}
    with pytest.raises(RecordUnsendable, match=r"Text at record\['b'\]"):
        travelled(values)


def test_depth_is_bounded_on_the_way_out() -> None:
    fits: Any = 1
    for _ in range(MAX_DEPTH):
        fits = [fits]
    assert travelled([fits]).values == [fits]
    with pytest.raises(RecordUnsendable, match="nested deeper than 32"):
        travelled([[fits]])


def test_what_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop += [loop, loop, loop]
    with pytest.raises(RecordUnsendable, match=r"more than|deeper than"):
        travelled([loop])


def test_the_number_of_containers_is_bounded() -> None:
    with pytest.raises(RecordUnsendable, match="more than"):
        travelled([()] * (MAX_CONTAINERS + 1))


def test_a_table_takes_only_classes_that_it_can_take_apart() -> None:
    with pytest.raises(FlowInvalid, match="neither a Struct"):
        RecordTypes({"x": Stranger})
    with pytest.raises(FlowInvalid, match="twice"):
        RecordTypes({"x": Point, "y": Point})
