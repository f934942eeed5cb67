"""Records about which the same is asked share what is asked while it is asked."""

import math
from collections.abc import Sequence
from typing import Any

import pytest

from operators.machine import Call, CallResult, Command, Machine
from sage.base.batch import Batch
from sage.base.errors import EngineLost, InvalidRequest, RecordFailed, RequestFailed
from sage.base.inference import EmbedRequest
from sage.flow.graph import OnError
from sage.flow.spec import Embed, Generate, MapAsync
from tests.unit.operators.arrange import dead_of, machine, step, values_of
from tests.unit.operators.asked import asked, embedded, refused, reply, says


async def double(number: Any) -> Any:
    return 2 * number


def calls_of(commands: Sequence[Command]) -> list[Call]:
    return [command for command in commands if isinstance(command, Call)]


def answer(driven: Machine, call: Call) -> list[Command]:
    return driven.on_results([CallResult(call.call_id, 2 * call.value, None)])


def test_equal_records_share_a_call_while_it_runs_and_leave_in_their_order() -> None:
    driven = machine(MapAsync(double, dedup=True))
    one, two = calls_of(driven.on_batch(Batch([1, 2, 1, 1])))
    assert (one.value, two.value) == (1, 2)
    assert values_of(answer(driven, two)) == []
    assert values_of(answer(driven, one)) == [2, 4, 2, 2]
    [again] = calls_of(driven.on_batch(Batch([1])))
    assert again.value == 1
    assert values_of(answer(driven, again)) == [2]
    assert driven.is_done()


def test_records_that_wait_for_an_equal_one_need_no_permit() -> None:
    driven = machine(MapAsync(double, max_in_flight=2, dedup=True))
    calls = calls_of(driven.on_batch(Batch([1, 1, 1, 2, 3])))
    assert [call.value for call in calls] == [1, 2]
    assert [call.value for call in calls_of(answer(driven, calls[0]))] == [3]


def test_records_of_different_types_are_not_equal_and_a_key_may_say_what_is() -> None:
    assert len(calls_of(machine(MapAsync(double, dedup=True)).on_batch(Batch([1, 1.0, True, math.nan])))) == 4
    driven = machine(MapAsync(double, dedup=lambda record: record["id"]))
    rows = [{"id": 1, "at": 1}, {"id": 2, "at": 2}, {"id": 1, "at": 3}]
    assert [call.value["at"] for call in calls_of(driven.on_batch(Batch(rows)))] == [1, 2]


def test_a_record_that_cannot_be_compared_fails_by_the_steps_policy_and_says_what_to_do() -> None:
    with pytest.raises(RecordFailed, match="a dict has none") as failed:
        machine(MapAsync(double, dedup=True)).on_batch(Batch([{"id": 1}]))
    assert isinstance(failed.value.__cause__, InvalidRequest)
    lenient = machine(step(MapAsync(double, dedup=True), on_error=OnError.DEAD_LETTER))
    commands = lenient.on_batch(Batch([{"id": 1}, 2]))
    assert [letter.value for letter in dead_of(commands)] == [{"id": 1}]
    assert [call.value for call in calls_of(commands)] == [2]


def test_a_shared_call_that_fails_is_tried_for_all_and_then_fails_for_all() -> None:
    driven = machine(step(MapAsync(double, dedup=True), on_error=OnError.DEAD_LETTER, retries=1))
    [call] = calls_of(driven.on_batch(Batch([5, 5])))
    [again] = calls_of(driven.on_results([CallResult(call.call_id, None, ValueError("no"))]))
    commands = driven.on_results([CallResult(again.call_id, None, ValueError("no"))])
    assert [letter.value for letter in dead_of(commands)] == [5, 5]
    assert driven.is_done()
    [later] = calls_of(driven.on_batch(Batch([5])))
    assert values_of(answer(driven, later)) == [10]


def test_after_a_restart_equal_records_share_again() -> None:
    driven = machine(MapAsync(double, dedup=True))
    calls_of(driven.on_batch(Batch([1, 1])))
    restored = machine(MapAsync(double, dedup=True))
    [call] = calls_of(restored.restore(driven.snapshot()))
    assert values_of(answer(restored, call)) == [2, 2]


def test_equal_prompts_share_a_request_and_each_record_gets_the_answer() -> None:
    driven = machine(Generate("chat", "{question}", into="answer", dedup=True))
    records = [{"id": 1, "question": "q"}, {"id": 2, "question": "other"}, {"id": 3, "question": "q"}]
    first, second = asked(driven.on_batch(Batch(records)))
    reply(driven, *says(second, "B"))
    answers = values_of(reply(driven, *says(first, "A")))
    assert [(record["id"], record["answer"]) for record in answers] == [(1, "A"), (2, "B"), (3, "A")]
    assert driven.counts.num_requests == 2


@pytest.mark.parametrize(
    ("spec", "num_requests"),
    [
        (Generate("chat", "{}", dedup=None), 1),
        (Generate("chat", "{}", dedup=None, temperature=0.7), 2),
        (Generate("chat", "{}", dedup=None, temperature=0.7, seed=3), 1),
        (Generate("chat", "{}", dedup=True, temperature=0.7), 1),
        (Generate("chat", "{}", dedup=None, on_token=print), 2),
        (Generate("chat", "{}", dedup=False), 2),
    ],
)
def test_unless_told_prompts_share_an_answer_where_it_is_not_left_to_chance(spec: Generate, num_requests: int) -> None:
    assert len(asked(machine(spec).on_batch(Batch(["q", "q"])))) == num_requests


def test_equal_texts_share_a_vector_also_where_a_request_is_asked_in_halves() -> None:
    driven = machine(step(Embed("minilm", dedup=None), on_error=OnError.DEAD_LETTER))
    [request] = asked(driven.on_batch(Batch(["a", "bb", "a", "bad"])))
    assert isinstance(request, EmbedRequest)
    assert request.texts == ("a", "bb", "bad")
    halves = asked(reply(driven, refused(request, RequestFailed("one text is wrong"))))
    commands: list[Command] = []
    while halves:
        half = halves.pop()
        assert isinstance(half, EmbedRequest)
        is_wrong = "bad" in half.texts
        new = reply(driven, refused(half, RequestFailed("wrong")) if is_wrong else embedded(half))
        halves += asked(new)
        commands += new
    assert [vector[0] for vector in values_of(commands)] == [1, 2, 1]
    assert [letter.value for letter in dead_of(commands)] == ["bad"]


def test_a_shared_request_that_is_lost_is_asked_again_once_for_all() -> None:
    driven = machine(step(Generate("chat", "{}", dedup=True), on_error=OnError.RETRY, retries=1))
    [request] = asked(driven.on_batch(Batch(["q", "q"])))
    [again] = asked(reply(driven, refused(request, EngineLost("gone"))))
    assert values_of(reply(driven, *says(again, "A"))) == ["A", "A"]
