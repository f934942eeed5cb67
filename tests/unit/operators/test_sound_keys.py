"""What can be a key: the same for every number of instances and on every node, or refused by its type."""

import dataclasses
import zoneinfo
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sage
from operators.keycode import bytes_of_key, exact_bytes_of_key, no_key, sound_key
from operators.replaying import replaying
from sage.base.errors import RecordFailed
from sage.flow.spec import KeyBy


class Name(str):
    __slots__ = ()


class Place(NamedTuple):
    x: int
    y: int


class Color(Enum):
    RED = 1
    BLUE = 2


class Level(IntEnum):
    LOW = 1


class Word(StrEnum):
    ANT = "ant"


class Right(Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass(frozen=True)
class Point:
    x: float


class Shop(msgspec.Struct, frozen=True):
    name: str


@dataclasses.dataclass
class Open:
    x: int


SMALL = st.integers(-2, 2)
PLAIN: st.SearchStrategy[Any] = st.one_of(
    SMALL,
    st.booleans(),
    st.none(),
    st.sampled_from([0.0, -0.0, 0.5, 1.0, float("inf"), 1e300, 10**300, 2**61 - 1, -1, -2, 2**64, Decimal("0.5")]),
    st.sampled_from([Fraction(1, 2), Fraction(1, 3), 1 + 0j, 1j, Decimal(1), Decimal("Infinity"), Decimal("1.10")]),
    st.sampled_from([np.int8(1), np.uint64(2), np.float32(0.5), np.float64(0.1), 0.1, np.bool_(True), np.bool_(False)]),
    st.sampled_from([np.complex64(1j), np.complex128(1), np.longdouble(1), np.str_("ant"), np.bytes_(b"ant")]),
    st.sampled_from(["", "ant", Name("ant"), Word.ANT, b"ant", "\udc80", "é", "1", Color.RED, Color.BLUE]),
    st.sampled_from([Level.LOW, Right.READ, Right.READ | Right.WRITE, Right(0), UUID(int=1), Shop("ant"), Shop("bee")]),
    st.sampled_from([date(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), time(1), timedelta(1), timedelta(hours=24)]),
)
KEYS = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2).map(tuple),
        st.frozensets(inner, max_size=2),
        st.builds(Place, SMALL, SMALL),
        st.builds(Point, SMALL.map(float)),
    ),
    max_leaves=3,
)


@settings(deadline=None, max_examples=150)
@given(KEYS, KEYS)
def test_keys_have_equal_bytes_where_python_looks_one_up_by_the_other_and_only_there(left: Any, right: Any) -> None:
    assert sound_key(left) is left
    is_one = left in {right: None}
    assert (exact_bytes_of_key(left) == exact_bytes_of_key(right)) == is_one
    if is_one:
        assert bytes_of_key(left) == bytes_of_key(right)


REFUSED: tuple[Any, ...] = (
    *([1], {1}, {"a": 1}, bytearray(b"a"), memoryview(b"a"), range(3), slice(1), object(), int, len, ...),
    *(zoneinfo.ZoneInfo("UTC"), UTC, PurePosixPath("a"), Open(1), Decimal("sNaN")),
    *(np.datetime64("2026-01-01"), np.timedelta64(1, "s"), np.array([1]), (1, [2]), (1, object()), Shop([1])),  # type: ignore[arg-type]  # what a user may give
)


@pytest.mark.parametrize("key", [pytest.param(key, id=f"{at} {type(key).__name__}") for at, key in enumerate(REFUSED)])
def test_what_cannot_be_a_key_is_refused_by_its_type(key: Any) -> None:
    for look in (sound_key, replaying(KeyBy(lambda record: key))):
        assert look is not None
        with pytest.raises(RecordFailed, match="cannot be the key of a record") as caught:
            look(key)
        assert "Let key_by return a text" in caught.value.do
        assert "str(key)" in caught.value.do


def test_types_of_other_modules_are_named_with_these() -> None:
    assert "a zoneinfo.ZoneInfo cannot be" in no_key(zoneinfo.ZoneInfo("UTC")).what
    assert "a list cannot be" in no_key([1]).what


def bad_at_two(bad: object) -> Callable[[int], object]:
    return lambda number: bad if number == 2 else number % 2


@pytest.mark.parametrize("bad", [[1], zoneinfo.ZoneInfo("UTC"), (1, PurePosixPath("a"))], ids=repr)
@pytest.mark.parametrize("num_instances", [1, 2])
def test_a_record_whose_key_is_none_is_set_aside_at_its_step(bad: object, num_instances: int) -> None:
    flow = sage.Flow("f")
    keyed = flow.from_collection(range(5)).key_by(bad_at_two(bad)).named("by kind").on_error("dead_letter")
    counts = keyed.count(final=True).with_parallelism(num_instances).collect()
    with sage.connect() as cluster:
        job = cluster.submit(flow)
        job.wait(30)
        [letter] = job.dead_letters()
    assert sorted(counts.items) == [(0, 2), (1, 2)]
    assert (letter.step, letter.value) == ("by kind", "2")
    assert "cannot be the key of a record" in letter.error


def test_without_it_the_job_fails_by_the_step_its_line_and_what_to_do() -> None:
    flow = sage.Flow("f")
    keyed = flow.from_collection(range(5)).key_by(bad_at_two(zoneinfo.ZoneInfo("UTC"))).named("by kind")
    keyed.count().with_parallelism(2).collect()
    with pytest.raises(
        RecordFailed, match=r"step 'by kind' \(.*test_sound_keys\.py:\d+\): a zoneinfo.ZoneInfo cannot"
    ) as caught:
        flow.run(progress=False)
    assert 'on_error("dead_letter")' in caught.value.do
