"""Steps on the way of chat requests: users' functions see values, and every record stays with its request.

Knows nothing of how steps run, nor of where answers go.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from operators.fields import getter, setter, text_getter
from operators.listed import FLAT_MAP, listed
from operators.turns import ChatTurns
from sage.base.errors import InternalError, InvalidRequest
from sage.base.turns import TurnRecord
from sage.flow.graph import Step
from sage.flow.spec import Filter, FlatMap, ForEach, Map, MapAsync, MapBatches, Read, Reply, Retrieve, Spec, Union


def on_turns(step: Step, turns: ChatTurns) -> Step:
    """Return `step` over records of chat requests instead of their values; model steps apart (`TurnWording`)."""
    return replace(step, spec=_on_turns(step, turns))


def _on_turns(step: Step, turns: ChatTurns) -> Spec:
    match step.spec:
        case Read() | Union() as spec:
            return spec
        case Map(fn):
            return Map(lambda record: record.with_value(fn(record.value)))
        case Filter(fn):
            return Filter(_keeping(fn, turns, step.num_ways))
        case FlatMap(fn):
            return FlatMap(_parting(fn, turns, step.num_ways))
        case MapAsync(fn=fn) as spec:
            return replace(spec, fn=_awaiting(fn))
        case MapBatches(fn=fn) as spec:
            return replace(spec, fn=_each(fn))
        case Retrieve(vector=vector, into=into) as spec:
            vector_of, put = getter(vector), setter(into)
            return replace(
                spec,
                vector=lambda record: vector_of(record.value),
                into=lambda record, found: record.with_value(put(record.value, found)),
            )
        case Reply(text):
            return ForEach(_replying(step.name, text_getter(text), turns))
        case spec:
            raise InternalError(f"a {type(spec).__name__} is on the way of chat requests")


def _keeping(fn: Callable[[Any], object], turns: ChatTurns, num_ways: int) -> Callable[[TurnRecord], bool]:
    def keep(record: TurnRecord) -> bool:
        if fn(record.value):
            return True
        turns.leave(record, num_ways)
        return False

    return keep


def _parting(fn: Callable[[Any], Any], turns: ChatTurns, num_ways: int) -> Callable[[TurnRecord], list[TurnRecord]]:
    def part(record: TurnRecord) -> list[TurnRecord]:
        values = listed(fn(record.value), by=FLAT_MAP)
        if not values:
            turns.leave(record, num_ways)
        return [record.parted(number, len(values), value) for number, value in enumerate(values)]

    return part


def _awaiting(fn: Callable[[Any], Awaitable[Any]]) -> Callable[[TurnRecord], Awaitable[TurnRecord]]:
    async def call(record: TurnRecord) -> TurnRecord:
        return record.with_value(await fn(record.value))

    return call


def _each(fn: Callable[[list[Any]], Any]) -> Callable[[list[TurnRecord]], list[TurnRecord]]:
    def each(records: list[TurnRecord]) -> list[TurnRecord]:
        values: Sequence[Any] = listed(fn([record.value for record in records]))
        if len(values) != len(records):
            raise InvalidRequest(
                f"map_batches made {len(values)} records of {len(records)} chat requests, so that nobody could tell "
                "which answers which",
                "Return one for each, in order; or use filter and flat_map.",
            )
        return [record.with_value(value) for record, value in zip(records, values, strict=True)]

    return each


def _replying(name: str, text_of: Callable[[Any], str], turns: ChatTurns) -> Callable[[TurnRecord], None]:
    def reply(record: TurnRecord) -> None:
        if record.said is None:
            turns.say(record, name, text_of(record.value))
            turns.end(record, name, "stop")

    return reply
