"""Steps between a chat request and its reply: users' functions see values, and no request is ever forgotten."""

import asyncio
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from operators.index import IndexStore
from operators.machine import Call, CallResult, Withdraw
from sage.base.batch import Batch
from sage.base.errors import ContextOverflow, EngineLost, NoEngine, Overloaded, SageError, UnknownModel
from sage.base.ids import RequestId
from sage.base.inference import ChatRequest, Origin, ServiceClass, Token
from sage.base.turns import Place, TurnRecord
from sage.flow.graph import OnError, Step, TurnRole
from sage.flow.spec import Embed, Filter, FlatMap, ForEach, Generate, Map, MapAsync, MapBatches, Reply, Retrieve
from tests.unit.operators.arrange import dead_of, step, values_of
from tests.unit.operators.asked import asked, embedded, refused, reply, says
from tests.unit.operators.turn_record import RecordedTurns, on_way, record


def told(spec: Any, name: str = "step") -> Step:
    return step(spec, name, on_error=OnError.DEAD_LETTER)


def plain(commands: Any) -> list[Any]:
    return [one.value for one in values_of(commands)]


def test_a_map_and_a_reply_see_values_and_answer_the_request() -> None:
    turns = RecordedTurns()
    driven = on_way(told(Map(str.upper)), told(Reply("{}!"), "reply"), turns=turns)
    assert driven.on_batch(Batch([record("hi", "a"), record("ho", "b")])) == []
    assert turns.said == [
        ("a", "reply", "HI!"),
        ("a", "reply", "stop", 1),
        ("b", "reply", "HO!"),
        ("b", "reply", "stop", 1),
    ]


def test_a_record_that_a_filter_leaves_away_is_said_to_have_left() -> None:
    turns = RecordedTurns()
    driven = on_way(told(Filter(lambda n: n > 1)), turns=turns)
    kept = driven.on_batch(Batch([record(1, "a"), record(2, "b", Place(2))]))
    assert plain(kept) == [2]
    assert turns.said == [("a", "left", 1)]


@pytest.mark.parametrize("spec", [Filter(lambda n: False), FlatMap(lambda n: [])], ids=["filter", "flat_map"])
def test_a_record_that_is_left_away_before_ways_part_has_left_all_of_them(spec: Any) -> None:
    turns = RecordedTurns()
    driven = on_way(replace(told(spec), num_ways=3), turns=turns)
    assert values_of(driven.on_batch(Batch([record(1, "a", Place(3))]))) == []
    assert turns.said == [("a", "left", 1)]


def test_the_parts_of_a_flat_map_make_a_whole_in_order() -> None:
    turns = RecordedTurns()
    driven = on_way(told(FlatMap(str.split)), told(FlatMap(list)), turns=turns)
    parts: list[TurnRecord] = values_of(driven.on_batch(Batch([record("ab c", "a"), record(" ", "b")])))
    assert [part.value for part in parts] == ["a", "b", "c"]
    assert [part.place.begin for part in parts] == [0, Fraction(1, 4), Fraction(1, 2)]
    assert sum(part.place.share for part in parts) == 1
    assert turns.said == [("b", "left", 1)]


def test_a_function_that_raises_fails_the_request_by_name_and_sets_the_value_aside() -> None:
    turns = RecordedTurns()
    driven = on_way(told(Map(lambda n: 1 / n), "invert"), turns=turns)
    commands = driven.on_batch(Batch([record(0, "a"), record(2, "b")]))
    assert plain(commands) == [0.5]
    assert [repr(letter.value) for letter in dead_of(commands)] == ["0"]
    assert turns.said == [
        ("a", "SAGE-1301", "step 'invert' failed on the request: ZeroDivisionError: division by zero")
    ]


def test_lists_go_one_for_one_or_fail_their_requests() -> None:
    turns = RecordedTurns()
    driven = on_way(told(MapBatches(lambda ns: [n + 1 for n in ns])), turns=turns)
    assert plain(driven.on_batch(Batch([record(1), record(2)]))) == [2, 3]
    driven = on_way(told(MapBatches(lambda ns: ns[:1])), turns=turns)
    assert plain(driven.on_batch(Batch([record(1, "a"), record(2, "b")]))) == []
    assert [(who, "made 1 records of 2 chat requests" in what) for who, _, what in turns.said] == [
        ("a", True),
        ("b", True),
    ]


def test_a_slow_call_holds_up_its_own_request_only() -> None:
    async def double(n: int) -> int:
        return 2 * n

    driven = on_way(told(MapAsync(double)), turns=RecordedTurns())
    calls = [
        command
        for command in driven.on_batch(Batch([record(1, "a"), record(2, "b"), record(3, "a")]))
        if isinstance(command, Call)
    ]
    results = [CallResult(call.call_id, asyncio.run(call.fn(call.value)), None) for call in calls]  # type: ignore[arg-type]  # a coroutine
    assert plain(driven.on_results([results[1]])) == [4]
    assert plain(driven.on_results([results[2]])) == []
    assert plain(driven.on_results([results[0]])) == [2, 6]


def test_beside_the_way_steps_see_values() -> None:
    seen: list[str] = []
    driven = on_way(step(ForEach(seen.append)), turns=RecordedTurns(), role=TurnRole.LEAVES)
    driven.on_batch(Batch([record("a"), record("b")]))
    assert seen == ["a", "b"]


def test_a_model_is_asked_in_the_class_and_for_the_tenant_and_the_time_of_the_request() -> None:
    turns = RecordedTurns()
    turns.seconds_left = 3.0
    spec = Generate("m", "{}", max_tokens=50, deadline_s=9.0, stop=("x",))
    driven = on_way(told(spec), turns=turns, role=TurnRole.SPEAKS)
    [request] = asked(driven.on_batch(Batch([record("hi", max_tokens=7, stop=("x", "y"))])))
    assert isinstance(request, ChatRequest)
    assert (request.service_class, request.tenant, request.timeout_s) == (ServiceClass.INTERACTIVE, "acme", 3.0)
    assert (request.sampling.max_tokens, request.sampling.stop) == (7, ("x", "y"))
    assert turns.asked == {request.id: "t"}


def test_a_model_is_told_which_step_asks_for_which_request_and_when_that_is_due() -> None:
    turns = RecordedTurns()
    turns.seconds_left = 3.0
    driven = on_way(told(Embed("m", str), "look"), turns=turns)
    requests = asked(driven.on_batch(Batch([record("hi", "a"), record("ho", "b")])))
    assert [request.origin for request in requests] == [Origin("j", "look", turn, 3.0) for turn in "ab"]


def test_a_model_that_speaks_is_heard_token_by_token_and_its_reply_is_not_said_again() -> None:
    turns = RecordedTurns()
    heard: list[tuple[str, str]] = []
    spec = Generate("m", "{}", on_token=lambda value, text: heard.append((value, text)))
    driven = on_way(told(spec, "say"), turns=turns, role=TurnRole.SPEAKS)
    [request] = asked(driven.on_batch(Batch([record("hi", "a")])))
    [out] = values_of(reply(driven, *says(request, "Hel", "lo")))
    who = f"say {request.id}"
    assert turns.said == [("a", who, "Hel"), ("a", who, "lo"), ("a", who, "stop", 1)]
    assert heard == [("hi", "Hel"), ("hi", "lo")]
    assert turns.asked == {}
    on_way(told(Reply()), turns=turns).on_batch(Batch([out]))
    assert len(turns.said) == 3


def test_a_model_that_is_asked_for_both_ways_of_a_request_speaks_with_two_voices() -> None:
    turns = RecordedTurns()
    driven = on_way(told(Generate("m", "{}"), "say"), turns=turns, role=TurnRole.SPEAKS)
    requests = asked(driven.on_batch(Batch([record("hi", "a", Place(2)), record("ho", "a", Place(2))])))
    for request in requests:
        reply(driven, *says(request, "x"))
    speakers = [said[1] for said in turns.said]
    assert speakers == [f"say {request.id}" for request in requests for _ in range(2)]
    assert len({*speakers}) == 2


def test_a_request_that_failed_and_is_asked_again_is_known_by_its_new_id_alone() -> None:
    turns = RecordedTurns()
    driven = on_way(replace(told(Generate("m", "{}")), retries=1), turns=turns, role=TurnRole.SPEAKS)
    [first] = asked(driven.on_batch(Batch([record("hi", "a")])))
    [again] = asked(reply(driven, refused(first, EngineLost("gone"))))
    assert turns.asked == {again.id: "a"}
    reply(driven, *says(again, "x"))
    assert turns.asked == {}


@pytest.mark.parametrize(
    "error", [EngineLost("gone"), NoEngine("gone", retry_after_s=1.0), Overloaded("full", retry_after_s=1.0)], ids=repr
)
def test_a_model_that_has_begun_to_speak_is_not_asked_again(error: SageError) -> None:
    turns = RecordedTurns()
    driven = on_way(replace(told(Generate("m", "{}"), "say"), retries=3), turns=turns, role=TurnRole.SPEAKS)
    [request] = asked(driven.on_batch(Batch([record("hi", "a")])))
    commands = reply(driven, Token(request.id, "Hel"), refused(request, error))
    assert asked(commands) == []
    assert turns.said[-1][:2] == ("a", error.code)


def test_a_model_in_the_middle_is_not_heard_and_its_reply_goes_into_the_value() -> None:
    turns = RecordedTurns()
    driven = on_way(told(Generate("m", "{q}", into="a", max_tokens=9)), turns=turns)
    [request] = asked(driven.on_batch(Batch([record({"q": "why"}, max_tokens=2)])))
    assert isinstance(request, ChatRequest)
    assert request.sampling.max_tokens == 9
    assert plain(reply(driven, *says(request, "be", "cause"))) == [{"q": "why", "a": "because"}]
    assert turns.said == []


def test_each_request_is_embedded_by_itself_and_looked_up() -> None:
    turns = RecordedTurns()
    driven = on_way(told(Embed("e", "q", into="v")), turns=turns)
    requests = asked(driven.on_batch(Batch([record({"q": "a"}), record({"q": "bb"})])))
    assert len(requests) == 2
    out = values_of(reply(driven, *(embedded(request) for request in requests)))  # type: ignore[arg-type]  # they embed
    assert [one.value["v"].tolist() for one in out] == [[1, 1], [2, 1]]
    indexes = IndexStore()
    docs = indexes.index("docs")
    vectors = np.stack([docs.checked(vector, settles=True) for vector in ([1.0, 0.0], [0.0, 1.0])])
    docs.add("part", vectors, [("x", ""), ("y", "")])
    driven = on_way(told(Retrieve("docs", 1, "v")), turns=turns, indexes=indexes)
    assert [passage.text for passage in plain(driven.on_batch(Batch([out[1]])))[0]["passages"]] == ["x"]


def test_nobody_is_asked_for_a_request_that_was_withdrawn_and_its_failure_is_nobodys() -> None:
    turns = RecordedTurns()
    driven = on_way(told(Generate("m", "{}")), turns=turns, role=TurnRole.SPEAKS)
    [request] = asked(driven.on_batch(Batch([record("hi", "a")])))
    turns.gone.add(RequestId("a"))
    assert asked(driven.on_batch(Batch([record("more", "a")]))) == []
    commands = reply(driven, refused(request, EngineLost("gone")))
    assert (dead_of(commands), turns.said) == ([], [])
    assert driven.is_done()
    assert not any(isinstance(command, Withdraw) for command in driven.close(complete=True))


@pytest.mark.parametrize(
    ("error", "code"), [(ContextOverflow("too long"), "SAGE-1204"), (UnknownModel("no m"), "SAGE-1301")]
)
def test_an_error_of_a_model_reaches_the_caller_where_it_means_the_same_to_him(error: SageError, code: str) -> None:
    turns = RecordedTurns()
    driven = on_way(told(Generate("m", "{}")), turns=turns)
    [request] = asked(driven.on_batch(Batch([record("hi", "a")])))
    reply(driven, refused(request, error))
    assert [said[:2] for said in turns.said] == [("a", code)]
