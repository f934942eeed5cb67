"""Two processes mean the same flow where the hashes of their graphs are the same."""

from collections.abc import Callable
from typing import Any

import pytest

import sage
from cluster.jobs.graph_digest import graph_sha256


def built(
    items: Any = (1, 2), *, fn: Callable[[Any], Any] = abs, parallelism: int = 1, name: str = "f", step: str = "m"
) -> str:
    flow = sage.Flow(name)
    flow.from_collection(items).map(fn).named(step).with_parallelism(parallelism).for_each(print)
    return graph_sha256(flow.graph())


def test_the_same_values_and_names_have_the_same_hash() -> None:
    assert built() == built()
    assert built({"a": 1, "b": 2}) == built({"b": 2, "a": 1})
    assert built({"x", "y", "z"}) == built({"z", "y", "x"})
    assert built([object()]) == built([object()])


@pytest.mark.parametrize(
    "changed",
    [{"items": (1, 3)}, {"fn": float}, {"parallelism": 2}, {"name": "g"}, {"step": "n"}, {"items": iter((1, 2))}],
)
def test_whatever_differs_shows_in_the_hash(changed: dict[str, Any]) -> None:
    assert built(**changed) != built()
