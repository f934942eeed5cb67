"""Records are embedded many a request, from what is there."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.machine import SetTimer
from sage.base.batch import Batch
from sage.base.errors import (
    EngineLost,
    InternalError,
    InvalidRequest,
    NoEngine,
    RecordFailed,
    RequestFailed,
)
from sage.base.ids import EngineId
from sage.base.inference import Embedded, EmbedRequest, Origin, Reply, ServiceClass, Token, Usage
from sage.flow.graph import OnError
from sage.flow.spec import Embed, Field
from tests.unit.operators.arrange import dead_of, machine, step, values_of
from tests.unit.operators.asked import asked, embedded, refused, reply

PLAIN = Embed("minilm")


def embeds(commands: Any) -> list[EmbedRequest]:
    requests = [request for request in asked(commands) if isinstance(request, EmbedRequest)]
    assert len(requests) == len(asked(commands))
    return requests


def test_what_is_there_is_packed_into_requests_of_64_and_nothing_waits() -> None:
    requests = embeds(machine(PLAIN).on_batch(Batch([f"t{at}" for at in range(130)])))
    assert [len(request.texts) for request in requests] == [64, 64, 2]
    assert requests[0].texts[:2] == ("t0", "t1")


def test_a_request_says_who_asks_and_how_urgently() -> None:
    spec = Embed("minilm", "text", ServiceClass.BATCH, 2.0, "us")
    [request] = embeds(machine(spec).on_batch(Batch([{"text": "a"}])))
    assert request == EmbedRequest(request.id, "minilm", ("a",), ServiceClass.BATCH, "us", 2.0, Origin("", "step-0"))


def test_a_text_is_a_field_a_template_a_function_or_the_record() -> None:
    record = {"title": "T", "body": "B"}
    kinds: list[tuple[Field | None, Any, str]] = [
        ("body", record, "B"),
        ("{title}: {body}", record, "T: B"),
        (str.lower, "LOW", "low"),
        (None, "as is", "as is"),
    ]
    for text, one, expected in kinds:
        [request] = embeds(machine(Embed("minilm", text)).on_batch(Batch([one])))
        assert request.texts == (expected,)


def test_what_is_no_text_is_a_failed_record() -> None:
    with pytest.raises(RecordFailed, match="the record is no text but a int"):
        machine(PLAIN).on_batch(Batch([1]))


def test_each_record_gets_its_row_of_the_vectors() -> None:
    driven = machine(Embed("minilm", "text", into="vector"))
    [request] = embeds(driven.on_batch(Batch([{"text": "a"}, {"text": "bcd"}])))
    first, second = values_of(reply(driven, embedded(request)))
    assert first["vector"].dtype == np.float32
    assert first["vector"].tolist() == [1.0, 1.0]
    assert second["vector"].tolist() == [3.0, 1.0]
    assert (driven.counts.num_requests, driven.counts.prompt_tokens, driven.counts.records_out) == (1, 2, 2)


def test_requests_that_end_out_of_order_leave_in_order() -> None:
    driven = machine(PLAIN)
    first, second = embeds(driven.on_batch(Batch(["a" * (at + 1) for at in range(70)])))
    assert reply(driven, embedded(second)) == []
    assert [vector[0] for vector in values_of(reply(driven, embedded(first)))] == list(range(1, 71))


def test_records_behind_the_bound_are_packed_from_what_waits_when_permits_come_back() -> None:
    driven = machine(Embed("minilm", max_in_flight=64))
    [first] = embeds(driven.on_batch(Batch(["x"] * 100)))
    [second] = embeds(reply(driven, embedded(first)))
    assert len(second.texts) == 36


def test_one_bad_text_is_found_by_halves_and_only_it_is_set_aside() -> None:
    driven = machine(step(PLAIN, on_error=OnError.DEAD_LETTER))
    waiting = embeds(driven.on_batch(Batch([f"t{at}" for at in range(10)])))
    commands: list[Any] = []
    num_asked = 0
    while waiting:
        request = waiting.pop()
        bad = "t7" in request.texts
        new = reply(driven, refused(request, InvalidRequest("t7!")) if bad else embedded(request))
        waiting += embeds(new)
        commands += new
        num_asked += 1
    assert [letter.value for letter in dead_of(commands)] == ["t7"]
    assert len(values_of(commands)) == 9
    assert num_asked <= 9


def test_by_default_the_one_bad_text_fails_the_job_by_its_number() -> None:
    driven = machine(PLAIN)
    [all_three] = embeds(driven.on_batch(Batch(["a", "b", "bad"])))
    _, last_two = embeds(reply(driven, refused(all_three, InvalidRequest("no"))))
    _, last = embeds(reply(driven, refused(last_two, InvalidRequest("no"))))
    with pytest.raises(RecordFailed, match="failed on record 3: InvalidRequest"):
        reply(driven, refused(last, InvalidRequest("no")))


def test_a_record_that_was_asked_in_vain_alone_and_with_others_says_how_often() -> None:
    driven = machine(step(PLAIN, on_error=OnError.RETRY, retries=1))
    [both] = embeds(driven.on_batch(Batch(["a", "bad"])))
    [both] = embeds(reply(driven, refused(both, RequestFailed("no"))))
    _, bad = embeds(reply(driven, refused(both, RequestFailed("no"))))
    [bad] = embeds(reply(driven, refused(bad, RequestFailed("no"))))
    with pytest.raises(RecordFailed, match="failed on record 2 after 4 tries: RequestFailed"):
        reply(driven, refused(bad, RequestFailed("no")))


def test_a_record_that_waited_for_too_long_was_tried_as_often_as_it_was_taken() -> None:
    driven = machine(step(PLAIN, on_error=OnError.RETRY, retries=3))
    [request] = embeds(driven.on_batch(Batch(["a"])))
    for error in (EngineLost("ended"), EngineLost("ended")):
        [request] = embeds(reply(driven, refused(request, error)))
    with pytest.raises(RecordFailed, match="failed on record 1 after 2 tries: NoEngine"):
        reply(driven, refused(request, NoEngine("starting", retry_after_s=1_000_000.0)))


def test_an_engine_that_starts_is_waited_for_and_a_lost_one_asked_again() -> None:
    driven = machine(step(PLAIN, on_error=OnError.RETRY, retries=1))
    [request] = embeds(driven.on_batch(Batch(["a", "b"])))
    [timer] = reply(driven, refused(request, NoEngine("starting", retry_after_s=1.0)))
    assert isinstance(timer, SetTimer)
    [request] = embeds(driven.on_timer(timer.timer_id))
    [request] = embeds(reply(driven, refused(request, EngineLost("ended"))))
    assert len(values_of(reply(driven, embedded(request)))) == 2


def test_a_reply_that_does_not_fit_is_our_fault() -> None:
    driven = machine(PLAIN)
    [request] = embeds(driven.on_batch(Batch(["a"])))
    with pytest.raises(InternalError):
        reply(driven, Token(request.id, "x"))
    with pytest.raises(InternalError):
        reply(driven, Embedded(request.id, b"123", 1, Usage(), EngineId("e")))


@given(st.data(), st.integers(1, 100), st.lists(st.integers(0, 90), max_size=5))
def test_whatever_comes_back_when_nothing_is_lost_or_comes_twice(
    data: Any, max_in_flight: int, sizes: list[int]
) -> None:
    """Every tenth text is refused, some requests fail in passing, some are put off; results keep the order."""
    driven = machine(step(Embed("minilm", max_in_flight=max_in_flight), on_error=OnError.DEAD_LETTER, retries=3))
    numbers = iter(range(sum(sizes)))
    pending = [["x" * next(numbers) for _ in range(size)] for size in sizes]
    records = [record for batch in pending for record in batch]
    commands: list[Any] = []
    waiting: list[EmbedRequest] = []
    timers: list[int] = []
    num_odd = 0

    def answered(request: EmbedRequest) -> Reply:
        nonlocal num_odd
        if any(len(text) % 10 == 9 for text in request.texts):
            return refused(request, InvalidRequest("nine"))
        odd = data.draw(st.sampled_from(["no", "no", "fail", "later"])) if num_odd < 3 else "no"
        num_odd += odd != "no"
        if odd == "fail":
            return refused(request, RequestFailed("odd"))
        return refused(request, NoEngine("not yet", retry_after_s=1.0)) if odd == "later" else embedded(request)

    while pending or waiting or timers:
        if timers:
            new = driven.on_timer(timers.pop())
        elif pending and driven.room() > 0:
            new = driven.on_batch(Batch(pending.pop(0)))
        else:
            new = reply(driven, answered(waiting.pop(data.draw(st.integers(0, len(waiting) - 1)))))
        waiting += embeds(new)
        timers += [command.timer_id for command in new if isinstance(command, SetTimer)]
        commands += new
        assert sum(len(request.texts) for request in waiting) <= max_in_flight
    assert [int(vector[0]) for vector in values_of(commands)] == [len(r) for r in records if len(r) % 10 != 9]
    assert sorted(len(letter.value) for letter in dead_of(commands)) == [len(r) for r in records if len(r) % 10 == 9]
    assert driven.is_done()
