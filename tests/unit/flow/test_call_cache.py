"""What a cache of calls is told: folders, bounds, and by which name a function is known."""

import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

import sage
from sage.base.errors import FlowInvalid
from sage.flow.cached import named_for


async def shout(text: str) -> str:
    return text.upper()


def adder(number: Any) -> Callable[[int], Awaitable[int]]:
    async def add(other: int, *, factor: Any = 2) -> int:
        return int((number + other) * factor)

    return add


def name_of(fn: Callable[..., Any]) -> str:
    found = named_for(sage.CallCache("c"), fn)
    assert found is not None
    return found.name


def test_a_function_is_known_by_its_code_and_what_it_holds() -> None:
    assert name_of(shout) == name_of(shout)
    assert name_of(adder(1)) == name_of(adder(1))
    assert len({name_of(fn) for fn in (shout, adder(1), adder(2), adder(1.0), adder("1"))}) == 5


async def forgiving(text: str) -> str:
    try:
        first = text[0]
        second = text[1]
        return first + second
    except IndexError:
        return ""


async def strict(text: str) -> str:
    try:
        first = text[0]
    except IndexError:
        return ""
    else:
        second = text[1]
        return first + second


def test_what_stands_in_a_try_is_part_of_a_function() -> None:
    renamed = FunctionType(strict.__code__.replace(co_qualname=forgiving.__qualname__), {})
    assert renamed.__code__.co_code == forgiving.__code__.co_code
    assert name_of(renamed).split(":")[0] == name_of(forgiving).split(":")[0]
    assert name_of(renamed) != name_of(forgiving)


@pytest.mark.parametrize("fn", [functools.partial(shout), adder(object()), adder([1]), len])
def test_what_code_does_not_tell_needs_a_name(fn: Callable[..., Any]) -> None:
    with pytest.raises(FlowInvalid, match="is not known by its code alone"):
        sage.Flow("f").from_collection(["a"]).map_async(fn, cache="answers")
    stream = sage.Flow("f").from_collection(["a"]).map_async(fn, cache=sage.CallCache("answers", name="v1"))
    assert stream._builder.step(stream._number).spec.cache.name == "v1"  # type: ignore[union-attr]  # a MapAsync


def test_a_folder_is_the_same_wherever_it_is_read_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    stream = sage.Flow("f").from_collection(["a"]).embed(model="m", cache="answers")
    assert stream._builder.step(stream._number).spec.cache.folder == str(tmp_path / "answers")  # type: ignore[union-attr]  # an Embed


REFUSED: list[tuple[Any, Any]] = [
    ("", 1),
    ("s3://bucket", 1),
    (b"answers", 1),
    (True, 1),
    ("answers", 0),
]


@pytest.mark.parametrize(("folder", "max_bytes"), REFUSED)
def test_what_is_no_cache_is_refused(folder: Any, max_bytes: Any) -> None:
    with pytest.raises(FlowInvalid, match=r"is no folder of a machine|max_bytes is 0"):
        sage.Flow("f").from_collection(["a"]).embed(model="m", cache=sage.CallCache(folder, max_bytes=max_bytes))


def test_what_chat_requests_are_answered_is_kept_in_no_cache() -> None:
    flow = sage.Flow("f")
    flow.from_chat("bot").map(str).map_async(shout, cache="answers").reply()
    with pytest.raises(FlowInvalid, match="kept in no cache"):
        flow.graph()


def test_a_rehearsal_keeps_no_cache() -> None:
    from sage.testing import rehearse

    flow = sage.Flow("f")
    flow.from_collection(["a"]).map_async(shout, cache="answers").collect()
    with pytest.raises(FlowInvalid, match="a rehearsal keeps nothing"):
        rehearse(flow)
