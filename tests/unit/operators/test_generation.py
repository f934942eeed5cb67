"""Records become requests to generate, and answers become records."""

from dataclasses import dataclass
from typing import Any

import pytest

from operators.machine import SetTimer, Withdraw
from sage.base.batch import Batch
from sage.base.errors import (
    ContextOverflow,
    EngineLost,
    InternalError,
    NoEngine,
    Overloaded,
    QuotaExceeded,
    RecordFailed,
    RequestFailed,
)
from sage.base.ids import EngineId
from sage.base.inference import (
    ChatMessage,
    ChatRequest,
    Embedded,
    GenerateRequest,
    Origin,
    Sampling,
    ServiceClass,
    Token,
    Usage,
)
from sage.flow.graph import OnError
from sage.flow.spec import Generate
from tests.unit.operators.arrange import dead_of, machine, step, values_of
from tests.unit.operators.asked import asked, refused, reply, says

PLAIN = Generate("chat", "{}")


def test_a_prompt_is_a_user_message_after_the_system_message() -> None:
    spec = Generate(
        "chat",
        "Say {word} in {language}.",
        system="You {word}.",
        max_tokens=5,
        temperature=0.5,
        seed=1,
        stop=("\n",),
        priority=ServiceClass.BATCH,
        deadline_s=9.0,
        tenant="us",
    )
    [request] = asked(machine(spec).on_batch(Batch([{"word": "hi", "language": "Latin"}])))
    assert request == ChatRequest(
        request.id,
        "chat",
        (ChatMessage("system", "You hi."), ChatMessage("user", "Say hi in Latin.")),
        Sampling(max_tokens=5, temperature=0.5, seed=1, stop=("\n",)),
        ServiceClass.BATCH,
        "us",
        9.0,
        Origin("", "step-0"),
    )


def test_a_raw_prompt_goes_as_it_is_and_a_function_may_write_it() -> None:
    [request] = asked(machine(Generate("chat", str.upper, raw=True)).on_batch(Batch(["go"])))
    assert request == GenerateRequest(request.id, "chat", "GO", origin=Origin("", "step-0"))


def test_each_request_has_an_id_of_its_own() -> None:
    requests = asked(machine(PLAIN).on_batch(Batch(["a", "b"])))
    assert len({request.id for request in requests}) == 2


def test_answers_leave_in_the_order_of_the_records_and_are_counted() -> None:
    driven = machine(PLAIN)
    first, second = asked(driven.on_batch(Batch(["a", "b"])))
    assert reply(driven, *says(second, "B", "!")) == []
    assert values_of(reply(driven, *says(first, "A"))) == ["A", "B!"]
    assert driven.is_done()
    counts = driven.counts
    assert (counts.records_in, counts.records_out, counts.num_requests) == (2, 2, 2)
    assert (counts.prompt_tokens, counts.completion_tokens) == (6, 3)


@dataclass(frozen=True)
class Turn:
    question: str
    answer: str = ""


def test_an_answer_goes_where_into_says_and_the_record_stays_as_it_was() -> None:
    record = {"question": "q"}
    for into, given, expected in (
        ("answer", record, {"question": "q", "answer": "A"}),
        ("answer", Turn("q"), Turn("q", "A")),
        (lambda turn, answer: (turn, answer), "q", ("q", "A")),
    ):
        driven = machine(Generate("chat", lambda _: "?", into=into))
        [request] = asked(driven.on_batch(Batch([given])))
        assert values_of(reply(driven, *says(request, "A"))) == [expected]
    assert record == {"question": "q"}


def test_pieces_are_shown_as_they_come() -> None:
    shown: list[Any] = []
    driven = machine(Generate("chat", "{}", on_token=lambda record, text: shown.append((record, text))))
    [request] = asked(driven.on_batch(Batch(["q"])))
    reply(driven, Token(request.id, "A"))
    reply(driven, Token(request.id, "b"))
    assert shown == [("q", "A"), ("q", "b")]


def test_a_missing_field_is_a_failed_record_that_names_it() -> None:
    with pytest.raises(RecordFailed, match="the record has no field 'word': it has text"):
        machine(Generate("chat", "{word}")).on_batch(Batch([{"text": "a"}]))
    with pytest.raises(RecordFailed, match="the record has no field 'title': a str has no fields"):
        machine(Generate("chat", "{title}")).on_batch(Batch(["a"]))


def test_a_record_that_cannot_be_asked_about_is_set_aside_and_the_others_are_asked() -> None:
    driven = machine(step(Generate("chat", "{a}"), on_error=OnError.DEAD_LETTER))
    commands = driven.on_batch(Batch([{"b": 1}, {"a": 1}]))
    assert [letter.value for letter in dead_of(commands)] == [{"b": 1}]
    [request] = asked(commands)
    assert values_of(reply(driven, *says(request, "x"))) == ["x"]
    assert driven.is_done()


def test_no_more_is_asked_than_may_be_in_flight() -> None:
    driven = machine(Generate("chat", "{}", max_in_flight=2))
    first, second = asked(driven.on_batch(Batch(["a", "b", "c"])))
    assert driven.room() <= 0
    commands = reply(driven, *says(second, "B"))
    assert len(asked(commands)) == 1
    assert len(values_of(reply(driven, *says(first, "A")))) == 2


@pytest.mark.parametrize(
    "error",
    [
        Overloaded("full", retry_after_s=1.5),
        NoEngine("starting", retry_after_s=1.5),
        QuotaExceeded("used up", retry_after_s=1.5),
    ],
)
def test_a_refusal_for_want_of_room_is_waited_out_whatever_the_policy(error: Any) -> None:
    driven = machine(PLAIN)
    [request] = asked(driven.on_batch(Batch(["a"])))
    [timer] = reply(driven, refused(request, error))
    assert isinstance(timer, SetTimer)
    assert timer.after_s == 1.5
    [again] = asked(driven.on_timer(timer.timer_id))
    assert again.id != request.id
    assert values_of(reply(driven, *says(again, "A"))) == ["A"]


@pytest.mark.parametrize(
    ("error", "num_waits"),
    [
        pytest.param(Overloaded("not yet", retry_after_s=10.0), 30, id="a full queue drains"),
        pytest.param(NoEngine("not yet", retry_after_s=10.0), 3, id="an engine that is not even starting hardly comes"),
    ],
)
def test_a_stream_does_not_wait_for_ever(error: Overloaded | NoEngine, num_waits: int) -> None:
    driven = machine(PLAIN)
    [request] = asked(driven.on_batch(Batch(["a"])))
    for _ in range(num_waits):
        [timer] = reply(driven, refused(request, error))
        assert isinstance(timer, SetTimer)
        [request] = asked(driven.on_timer(timer.timer_id))
    with pytest.raises(RecordFailed, match=f"still so after waiting {10 * num_waits} s: not yet"):
        reply(driven, refused(request, error))


def test_waiting_counts_against_the_deadline() -> None:
    driven = machine(Generate("chat", "{}", deadline_s=5.0))
    [request] = asked(driven.on_batch(Batch(["a"])))
    [timer] = reply(driven, refused(request, Overloaded("full", retry_after_s=2.0)))
    assert isinstance(timer, SetTimer)
    [again] = asked(driven.on_timer(timer.timer_id))
    assert again.timeout_s == 3.0
    with pytest.raises(RecordFailed, match="no engine had room within the deadline of 5 s: full"):
        reply(driven, refused(again, Overloaded("full", retry_after_s=4.0)))


def test_a_lost_engine_fails_the_job_with_the_steps_line_and_the_models_error() -> None:
    driven = machine(step(PLAIN, "answer"))
    [request] = asked(driven.on_batch(Batch(["a"])))
    with pytest.raises(RecordFailed, match=r"step 'answer' \(app\.py:7\) failed on record 1: EngineLost:") as caught:
        reply(driven, refused(request, EngineLost("the host ended")))
    assert isinstance(caught.value.__cause__, EngineLost)


def test_a_lost_engine_is_asked_again_as_often_as_the_step_says_and_old_pieces_are_forgotten() -> None:
    driven = machine(step(PLAIN, on_error=OnError.RETRY, retries=1))
    [request] = asked(driven.on_batch(Batch(["a"])))
    [again] = asked(reply(driven, Token(request.id, "ol"), refused(request, EngineLost("ended"))))
    assert values_of(reply(driven, *says(again, "new"))) == ["new"]
    [request] = asked(driven.on_batch(Batch(["b"])))
    [again] = asked(reply(driven, refused(request, EngineLost("ended"))))
    with pytest.raises(RecordFailed, match="failed on record 2 after 2 tries"):
        reply(driven, refused(again, EngineLost("ended")))


def test_what_would_only_fail_again_is_not_asked_again() -> None:
    driven = machine(step(PLAIN, on_error=OnError.DEAD_LETTER, retries=3))
    first, second = asked(driven.on_batch(Batch(["a", "b"])))
    assert reply(driven, *says(second, "B")) == []
    commands = reply(driven, refused(first, ContextOverflow("too long")))
    assert asked(commands) == []
    assert [(letter.value, letter.error) for letter in dead_of(commands)] == [
        ("a", "ContextOverflow: [SAGE-1204] too long")
    ]
    assert values_of(commands) == ["B"]


def test_an_on_token_that_raises_withdraws_its_request_and_follows_the_policy() -> None:
    def refuse(record: str, text: str) -> None:
        raise ValueError("no more")

    driven = machine(step(Generate("chat", "{}", on_token=refuse), on_error=OnError.DEAD_LETTER))
    [request] = asked(driven.on_batch(Batch(["a"])))
    commands = reply(driven, Token(request.id, "x"), Token(request.id, "y"))
    assert commands[0] == Withdraw((request.id,))
    assert [letter.error for letter in dead_of(commands)] == ["ValueError: no more"]
    assert driven.is_done()


def test_an_into_that_raises_follows_the_policy_without_asking_again() -> None:
    driven = machine(step(Generate("chat", "{}", into="answer"), on_error=OnError.DEAD_LETTER, retries=1))
    [request] = asked(driven.on_batch(Batch(["a"])))
    commands = reply(driven, *says(request, "A"))
    assert asked(commands) == []
    assert "'answer' cannot be set on a record of type str" in dead_of(commands)[0].error
    failing = machine(Generate("chat", "{}", into="answer"))
    [request] = asked(failing.on_batch(Batch(["a"])))
    with pytest.raises(RecordFailed, match="cannot be set"):
        reply(failing, *says(request, "A"))


def test_what_is_in_flight_is_withdrawn_where_the_stream_did_not_end_well() -> None:
    driven = machine(PLAIN)
    first, second = asked(driven.on_batch(Batch(["a", "b"])))
    reply(driven, *says(first, "A"))
    assert driven.close(complete=False) == [Withdraw((second.id,))]
    assert reply(driven, *says(second, "late")) == []


def test_a_reply_of_another_kind_is_our_fault() -> None:
    driven = machine(PLAIN)
    [request] = asked(driven.on_batch(Batch(["a"])))
    with pytest.raises(InternalError):
        reply(driven, Embedded(request.id, b"", 0, Usage(), EngineId("e")))
    with pytest.raises(InternalError):
        driven.on_results([])


def test_a_failure_of_the_engine_on_one_request_leaves_the_others_alone() -> None:
    driven = machine(step(PLAIN, on_error=OnError.DEAD_LETTER))
    first, second = asked(driven.on_batch(Batch(["a", "b"])))
    commands = reply(driven, refused(first, RequestFailed("odd")), *says(second, "B"))
    assert (len(dead_of(commands)), values_of(commands)) == (1, ["B"])
