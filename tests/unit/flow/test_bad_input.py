"""Whatever a method of a stream is given, it is refused by a typed error or makes a step: nothing else is raised."""

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import sage
from sage.base.errors import FlowInvalid, InternalError, SageError
from sage.flow.windowed import WindowedStream

ODD: list[Any] = [None, "", -1, 0, float("nan"), float("inf"), 10**30, object()]


def begun(name: str) -> Any:
    return sage.Flow(name).from_collection([1], timestamp=float)


def keyed() -> Any:
    return begun("keyed").key_by(str)


async def called(record: Any) -> Any:
    return record


def same(record: Any) -> Any:
    return record


def streamed() -> Any:
    return begun("stream")


def mapped() -> Any:
    return begun("stream").map(same)


def windowed() -> Any:
    return keyed().window(sage.Tumbling(1))


def joined() -> Any:
    both = begun("joined")
    return both.key_by(str).join(both.key_by(str))


CALLS: list[tuple[Callable[[], Any], str, dict[str, Any]]] = [
    (streamed, "map", {"fn": same}),
    (streamed, "filter", {"fn": same}),
    (streamed, "flat_map", {"fn": same}),
    (streamed, "map_async", {"fn": called}),
    (streamed, "map_batches", {"fn": same}),
    (streamed, "key_by", {"fn": same}),
    (streamed, "assign_timestamps", {"fn": same, "max_out_of_order_s": 0, "idle_after_s": 1, "partition": None}),
    (streamed, "split", {"predicates": {"tag": same}}),
    (streamed, "iterate", {"body": same, "until": same, "max_rounds": 2}),
    (streamed, "union", {}),
    (streamed, "generate", {"model": "m", "prompt": "{}"}),
    (streamed, "embed", {"model": "m"}),
    (streamed, "rerank", {"model": "m", "query": "q"}),
    (streamed, "named", {"name": "step"}),
    (mapped, "with_parallelism", {"num_instances": 1}),
    (mapped, "with_resources", {}),
    (mapped, "on_error", {"policy": "retry"}),
    *((keyed, name, {}) for name in ("count", "sum", "min", "max")),
    (keyed, "reduce", {"fn": max}),
    (keyed, "fold", {"initial": 0, "fn": max}),
    (keyed, "join", {"other": None}),
    (keyed, "connect", {"other": None}),
    (windowed, "allow_late", {"seconds": 1}),
    (windowed, "late_to", {"tag": "late"}),
    (windowed, "trigger", {"every_records": 1}),
    *((windowed, name, {}) for name in ("count", "sum", "min", "max", "collect")),
    (windowed, "reduce", {"fn": max}),
    (windowed, "fold", {"initial": list, "fn": max}),
    (windowed, "aggregate", {"create": list, "add": max}),
    (joined, "within", {"before_s": 1, "after_s": 1}),
    (joined, "as_of", {}),
]
SHAPES: list[tuple[type, list[str]]] = [
    (sage.Tumbling, ["size_s"]),
    (sage.Sliding, ["size_s", "every_s"]),
    (sage.Session, ["gap_s"]),
    (sage.CountWindow, ["num_records"]),
]


def params_of(method: Any, told: dict[str, Any]) -> list[str]:
    """Return the names of what a method takes, and of what is told beside it."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [*{name: None for name, each in inspect.signature(method).parameters.items() if each.kind in kinds} | told]


def tried(step: Any) -> None:
    """Make a step of what is none yet."""
    if isinstance(step, WindowedStream):
        step.count()


@pytest.mark.parametrize(
    ("begin", "name", "told"), CALLS, ids=[f"{at}-{name}" for at, (_, name, _) in enumerate(CALLS)]
)
def test_odd_arguments_are_refused_by_a_typed_error_or_make_a_step(
    begin: Callable[[], Any], name: str, told: dict[str, Any]
) -> None:
    raised: list[str] = []
    for param in params_of(getattr(begin(), name), told):
        for odd in ODD:
            try:
                tried(getattr(begin(), name)(**{**told, param: odd}))
            except InternalError as error:
                raised.append(f"{param}={odd!r:.20}: {error}")
            except SageError:
                pass
            except Exception as error:  # noqa: BLE001 - what is looked for
                raised.append(f"{param}={odd!r:.20}: {type(error).__name__}: {error}")
    assert raised == []


@pytest.mark.parametrize(("shape", "params"), SHAPES)
def test_odd_windows_are_refused_by_a_typed_error_or_make_a_step(shape: type, params: list[str]) -> None:
    for param in params:
        for odd in ODD:
            with suppress(FlowInvalid):
                keyed().window(shape(**{**dict.fromkeys(params, 1), param: odd})).count()
