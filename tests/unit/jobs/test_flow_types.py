"""The classes of a flow's own are found by the names that its code has for them."""

import dataclasses
from enum import Enum
from functools import partial
from typing import Annotated, Any, NamedTuple

import msgspec
import pytest

import sage
from cluster.jobs.flow_types import flow_types
from cluster.jobs.pickled_graph import graph_from_pickle, pickled_graph
from cluster.runtime.records import decode_batch, encode_batch
from sage.base.batch import Batch


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


class Held(Enum):
    """By value in an envelope, as the classes of a user's file are: see `shipped`."""

    A = 1


class Inner(msgspec.Struct):
    x: int


@dataclasses.dataclass
class Outer:
    inner: Any


class Row(NamedTuple):
    outer: Outer


@pytest.fixture
def users_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """These classes are of the script that is run, which no node has."""
    for thing in (Held, Inner, Outer, Row, Declared):
        monkeypatch.setattr(thing, "__module__", "__main__")


@dataclasses.dataclass
class Declared:
    """Nothing of its fields' types is in an item."""

    some: list[Inner] | None = None
    held: Annotated[dict[str, Held], [1]] = dataclasses.field(default_factory=dict)


@pytest.mark.usefixtures("users_file")
@pytest.mark.parametrize(
    ("item", "names"),
    [
        (Outer(1), ["Outer"]),
        (Held.A, ["Held"]),
        (Outer(Inner(1)), ["Outer", "Inner"]),
        ([{"a": ({Held.A}, Inner(1))}], ["Held", "Inner"]),
        ({Held.A: 1}, ["Held"]),
        (Row(Outer(2)), ["Outer"]),
        (Declared(), ["Declared", "Inner", "Held"]),
    ],
    ids=repr,
)
def test_what_the_items_of_a_collection_are_travels_though_no_function_names_it(item: Any, names: list[str]) -> None:
    flow = sage.Flow("types")
    flow.from_collection([0, item]).map(lambda record: record).collect()
    graph = flow.graph()
    there = flow_types(graph_from_pickle(pickled_graph(graph), "alder"))
    assert {*there.classes, *there.enums} == {"sage.WindowResult", *names}
    sent = item.outer if isinstance(item, Row) else item
    buffers = encode_batch(Batch([sent]), flow_types(graph), where="map")
    received = decode_batch(buffers, there)
    back = decode_batch(encode_batch(received, there, where="map"), flow_types(graph))
    assert back.values == [sent]


def test_what_holds_itself_or_can_only_be_iterated_is_no_trouble() -> None:
    ring: list[Any] = [Outer(1)]
    ring += [ring, ring]
    flow = sage.Flow("types")
    flow.from_collection(ring).map(repr).collect()
    flow.from_collection(map(Inner, [1])).map(repr).collect()
    assert list(flow_types(flow.graph()).classes) == ["sage.WindowResult", "Outer"]


@pytest.mark.usefixtures("users_file")
def test_the_first_value_of_a_fold_and_the_fields_of_named_classes_travel() -> None:
    flow = sage.Flow("types")
    flow.from_collection([1]).key_by(abs).fold(Outer(0), lambda so_far, _: so_far).collect()
    flow.read_jsonl("rows.jsonl", as_type=Declared).collect()
    types = flow_types(graph_from_pickle(pickled_graph(flow.graph()), "alder"))
    assert {*types.classes, *types.enums} == {"sage.WindowResult", "Outer", "Declared", "Inner", "Held"}
