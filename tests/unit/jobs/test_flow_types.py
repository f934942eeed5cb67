"""The classes of a flow's own are found by the names that its code has for them."""

import dataclasses
from enum import Enum
from functools import partial

import msgspec

import sage
from cluster.jobs.flow_types import flow_types


class Colour(Enum):
    RED = 1


class Point(msgspec.Struct):
    x: int


@dataclasses.dataclass
class Pair:
    left: int


def point(number: int) -> Point:
    return Point(number)


def test_what_the_functions_of_a_flow_can_name_may_travel() -> None:
    flow = sage.Flow("types")
    flow.from_collection([1]).map(point).collect()
    types = flow_types(flow.graph())
    assert {cls: types.name_of(cls) for cls in (Colour, Point, Pair)} == {
        Colour: "Colour",
        Point: "Point",
        Pair: "Pair",
    }


def test_a_partial_a_closure_and_the_type_of_a_source_count_too() -> None:
    class Local(msgspec.Struct):
        y: int

    def local(number: int) -> Local:
        return Local(number)

    flow = sage.Flow("types")
    flow.from_collection([1]).map(partial(point)).collect()
    flow.from_collection([1]).map(local).collect()
    flow.read_jsonl("points.jsonl", as_type=Point).collect()
    types = flow_types(flow.graph())
    assert [types.name_of(cls) for cls in (Point, Local)] == ["Point", "Local"]


def test_a_flow_of_builtins_has_no_classes_of_its_own() -> None:
    flow = sage.Flow("types")
    flow.from_collection(["a"]).map(str.upper).collect()
    types = flow_types(flow.graph())
    assert (list(types.classes), types.enums) == (["sage.WindowResult"], {}), "what every flow has"
