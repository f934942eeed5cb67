"""Steps over records that are due: users' functions see values, and what comes of a record is as due as it was."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from operators.context import Context
from operators.index import IndexStore
from operators.machine import Call, CallResult, Emit, Machine
from operators.registry import machine_for
from sage.base.batch import Batch
from sage.base.demand import Demand
from sage.base.dues import DueRecord
from sage.base.ids import JobId, TaskId
from sage.base.inference import EmbedRequest, Origin
from sage.flow.graph import DueRole, OnError, Step
from sage.flow.plan import Chain
from sage.flow.spec import (
    AssignTimestamps,
    Embed,
    Filter,
    FlatMap,
    Generate,
    KeyBy,
    Map,
    MapAsync,
    MapBatches,
    Spec,
    Split,
)
from tests.unit.operators.arrange import dead_of, step, values_of
from tests.unit.operators.asked import asked, embedded, says

NOW_S = 100.0


def due(value: Any, number: int = 1, due_s: float = 107.0) -> DueRecord:
    return DueRecord(value, f"r{number}", due_s)


def driven(spec: Spec | Step) -> Machine:
    first = replace(spec if isinstance(spec, Step) else step(spec), dues=DueRole.ON_WAY)
    context = Context(TaskId("t"), Random(1), IndexStore(), job_id=JobId("j"), unix_s=lambda: NOW_S)
    return machine_for(Chain(first.name, (first,), 1, Demand()), context)


async def double(number: int) -> int:
    return 2 * number


@pytest.mark.parametrize(
    ("spec", "made"),
    [
        (Map(lambda x: x + 1), [due(2), 3]),
        (Filter(lambda x: x == 1), [due(1)]),
        (FlatMap(lambda x: range(x)), [due(0), 0, 1]),
        (MapBatches(lambda xs: [x * 10 for x in xs]), [due(10), 20]),
        (MapBatches(lambda xs: [sum(xs)]), [due(3)]),
        (KeyBy(lambda x: x), [due(1), 2]),
        (AssignTimestamps(lambda x: float(x)), [due(1), 2]),
    ],
    ids=["map", "filter", "flat_map", "map_batches", "many to one", "key_by", "assign_timestamps"],
)
def test_what_comes_of_a_record_is_as_due_and_what_is_not_due_stays_so(spec: Spec, made: list[Any]) -> None:
    assert values_of(driven(spec).on_batch(Batch([due(1), 2]))) == made


def test_calls_are_made_with_values_and_equal_ones_share_a_call_each_as_due_as_it_was() -> None:
    machine = driven(MapAsync(double, dedup=True))
    [call] = [c for c in machine.on_batch(Batch([due(4, 1), due(4, 2, 103.0), 4])) if isinstance(c, Call)]
    assert call.value == 4
    out = values_of(machine.on_results([CallResult(call.call_id, 8, None)]))
    assert out == [due(8, 1), due(8, 2, 103.0), 8]


def test_a_request_says_of_which_record_it_is_and_when_that_is_due() -> None:
    heard: list[tuple[Any, str]] = []
    told = Generate("m", "{text}", into="answer", on_token=lambda record, text: heard.append((record, text)))
    machine = driven(told)
    record = {"text": "Why?"}
    [request] = asked(machine.on_batch(Batch([due(record)])))
    assert request.origin == Origin("j", "step", "r1", 7.0)
    assert values_of(machine.on_replies(says(request, "So"))) == [due({"text": "Why?", "answer": "So"})]
    assert heard == [(record, "So")]


def test_of_records_that_share_a_request_the_one_due_first_counts() -> None:
    machine = driven(Embed("m"))
    [request] = asked(machine.on_batch(Batch([due("a", 1), due("bb", 2, 103.0), "c"])))
    assert isinstance(request, EmbedRequest)
    assert request.texts == ("a", "bb", "c")
    assert request.origin == Origin("j", "step", "r2", 3.0)
    first, second, third = values_of(machine.on_replies([embedded(request)]))
    assert (first.origin_id, second.due_unix_s, third.tolist()) == ("r1", 103.0, [1.0, 1.0])


def test_records_that_are_due_at_no_time_say_who_asks() -> None:
    [request] = asked(driven(Generate("m", "{}")).on_batch(Batch(["a"])))
    assert request.origin == Origin("j", "step")


def test_what_is_set_aside_is_shown_without_when_it_was_due() -> None:
    machine = driven(step(Map(lambda x: 1 // x), on_error=OnError.DEAD_LETTER))
    [letter] = dead_of(machine.on_batch(Batch([due(0), due(1)])))
    assert letter.value == 0
    assert type(letter.value) is int


def test_a_step_beside_the_way_is_given_values() -> None:
    first = replace(step(Map(lambda x: x + 1)), dues=DueRole.LEAVES)
    machine = machine_for(Chain("c", (first,), 1, Demand()), Context(TaskId("t"), Random(1), IndexStore()))
    assert values_of(machine.on_batch(Batch([due(1), 5]))) == [2, 6]


def test_a_side_is_as_due_as_its_record() -> None:
    machine = driven(Split(("odd",), (lambda x: x % 2 == 1,)))
    emits = [c for c in machine.on_batch(Batch([due(1), due(2)])) if isinstance(c, Emit)]
    assert {each.side: each.batch.values for each in emits if each.batch.values} == {
        ("step", "odd"): [due(1)],
        None: [due(2)],
    }
