"""Records of every type that may travel, for tests: classes with their table, and strategies that draw values."""

import enum
from dataclasses import dataclass, field
from datetime import UTC, timedelta, timezone, tzinfo
from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from cluster.runtime.record_types import record_types_of


class Colour(enum.Enum):
    RED = 1
    BLUE = "blue"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Event(msgspec.Struct):
    id: int
    tags: list[str]
    colour: Colour | None = None


class Named(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    size: Any = 0


class Bare(msgspec.Struct, frozen=True):
    pass


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: Any


@dataclass
class Counted:
    words: list[str]
    num: int = field(init=False)

    def __post_init__(self) -> None:
        self.num = len(self.words)
        self.words.append("the end")


TYPES = record_types_of([Colour, Access, Event, Named, Bare, Point, Counted])


def fixed_zones() -> st.SearchStrategy[tzinfo | None]:
    offsets = st.integers(-86_000, 86_000)
    return st.none() | st.just(UTC) | offsets.map(lambda offset_s: timezone(timedelta(seconds=offset_s)))


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**200), 2**200)
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.binary(max_size=20)
    | st.dates()
    | st.builds(lambda at, fold: at.replace(fold=fold), st.datetimes(timezones=fixed_zones()), st.integers(0, 1))
    | st.builds(lambda at, zone, fold: at.replace(tzinfo=zone, fold=fold), st.times(), fixed_zones(), st.integers(0, 1))
    | st.timedeltas()
    | st.decimals().filter(lambda number: not number.is_snan())  # which has no hash
    | st.uuids()
    | st.sampled_from(Colour)
)
NUMPY = npst.arrays(
    npst.scalar_dtypes() | npst.unicode_string_dtypes() | npst.byte_string_dtypes(),
    npst.array_shapes(min_dims=0, min_side=0, max_side=3),
)
KEYS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3), max_leaves=5
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.fixed_dictionaries({"id": st.integers(), "text": inner})
        | st.builds(Point, st.floats(), inner)
        | st.builds(Named, name=st.text(), size=inner)
    )


RECORDS = st.recursive(SCALARS | KEYS | st.frozensets(KEYS).map(set) | NUMPY, containers, max_leaves=10)
