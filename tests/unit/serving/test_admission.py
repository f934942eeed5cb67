"""Admission by deadline: what is refused at the door, and what is not."""

from collections import deque

import pytest

from cluster.serving.events import EngineEnded
from cluster.serving.plane import Plane
from sage.base.errors import UnknownPolicy
from sage.base.ids import EngineId
from sage.base.inference import ChatRequest
from tests.unit.serving.arrange import (
    BATCH,
    INTERACTIVE,
    CheckedPlane,
    chat,
    chat_engine,
    dispatched,
    embed,
    embed_engine,
    finished,
)


def busy_plane(admission: str, num_waiting: int) -> CheckedPlane:
    """Return a plane whose one engine takes a second for each of 2 requests, and has done so for a while."""
    plane = CheckedPlane(Plane(("chat", "embed"), policy="priority", admission=admission))
    plane.up(chat_engine(max_running=2))
    plane.submit(*(chat(f"w{n}") for n in range(2)))
    number, running = 2, ["w0", "w1"]
    for _ in range(20):
        plane.now_s += 1.0
        plane.first(*running)
        ended, running = running, []
        for id in (number, number + 1):
            plane.submit(chat(f"w{id}"))
        for _, ids in dispatched(plane.end("c1", *ended)):
            running += ids
        number += 2
    plane.submit(*(chat(f"late{n}") for n in range(num_waiting)))
    return plane


def test_what_would_begin_after_it_is_due_is_refused_with_when_to_try_again() -> None:
    plane = busy_plane("deadline", num_waiting=40)
    plane.submit(chat("urgent", timeout_s=3.0))
    failure = plane.failure("urgent")
    assert failure.code == "SAGE-2201"
    assert "is due in 3.0 s" in failure.what
    assert failure.retry_after_s == pytest.approx(17.0, abs=5.0)


def test_what_can_begin_in_time_waits() -> None:
    plane = busy_plane("deadline", num_waiting=40)
    plane.submit(chat("patient", BATCH))
    assert plane.outcome("patient") == "open"


def test_a_more_urgent_class_is_not_refused_for_what_waits_behind_it() -> None:
    plane = busy_plane("deadline", num_waiting=40)
    plane.submit(chat("now", INTERACTIVE))
    assert plane.outcome("now") == "open"


def test_without_admission_all_wait() -> None:
    plane = busy_plane("none", num_waiting=40)
    plane.submit(chat("urgent", timeout_s=3.0))
    assert plane.outcome("urgent") == "open"


def test_nothing_is_refused_before_anything_is_known() -> None:
    plane = CheckedPlane(Plane(("chat", "embed"), admission="deadline"))
    plane.up(chat_engine(max_running=1))
    plane.submit(*(chat(f"r{n}", INTERACTIVE) for n in range(50)), embed("e"))
    assert all(plane.outcome(f"r{n}") == "open" for n in range(50))


def test_an_unknown_admission_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownPolicy, match="Did you mean 'deadline'"):
        Plane(admission="deadlines")


def test_a_request_is_refused_that_would_make_another_late_which_waits_already() -> None:
    plane = busy_plane("deadline", num_waiting=0)
    plane.policy("hybrid")
    plane.submit(chat("first", timeout_s=6.5), chat("second", timeout_s=6.5))
    number = 0
    while plane.outcome(f"first{number}" if number else "second") == "open":
        number += 1
        plane.submit(chat(f"first{number}", timeout_s=6.5))
    plane.submit(chat("sooner", timeout_s=3.5))
    assert "requests that wait already would be" in plane.failure("sooner").what
    assert all(plane.outcome(f"first{n}") == "open" for n in range(1, number))


def embedding_plane(*, batch_s: float, num_waiting: int) -> CheckedPlane:
    """Return a plane whose engine takes so long for each batch of 8 texts, and has done so for a while."""
    plane = CheckedPlane(Plane(("embed",), policy="fifo", admission="deadline"))
    plane.up(embed_engine())
    ids, number = deque[list[str]](), 0
    for _ in range(12):
        while len(ids) < 2:
            for _, sent in dispatched(plane.submit(*(embed(f"w{number + n}") for n in range(8)))):
                ids.append(sent)
            number += 8
        plane.now_s += batch_s
        for _, sent in dispatched(plane.end("e1", *ids.popleft())):
            ids.append(sent)
    plane.submit(*(embed(f"late{n}", service_class=BATCH) for n in range(num_waiting)))
    return plane


def test_texts_that_cannot_be_answered_in_time_are_refused_with_when_to_try_again() -> None:
    plane = embedding_plane(batch_s=1.0, num_waiting=400)
    plane.submit(embed("urgent", timeout_s=1.0), embed("patient", service_class=BATCH))
    failure = plane.failure("urgent")
    assert failure.code == "SAGE-2201"
    assert "the answer would come in 5" in failure.what
    assert failure.retry_after_s == pytest.approx(50.0, abs=4.0)
    assert plane.outcome("patient") == "open"


def test_texts_are_let_in_by_an_idle_engine_that_is_fast_enough_and_refused_by_one_that_is_not() -> None:
    plane = embedding_plane(batch_s=1.0, num_waiting=0)
    plane.now_s += 30.0
    plane.submit(embed("able", timeout_s=4.0), embed("hopeless", timeout_s=0.5))
    assert (plane.outcome("able"), plane.outcome("hopeless")) == ("open", "SAGE-2201")


def test_a_first_burst_of_texts_is_not_refused_for_what_single_ones_took() -> None:
    plane = CheckedPlane(Plane(("embed",), policy="fifo", admission="deadline"))
    plane.up(embed_engine(max_batch_texts=64))
    for number in range(20):
        plane.submit(embed(f"one{number}"))
        plane.now_s += 0.1
        plane.end("e1", f"one{number}")
    plane.submit(embed("many", num_texts=64, timeout_s=1.0))
    assert plane.outcome("many") == "open"


def talker(id: str, timeout_s: float) -> ChatRequest:
    """Return a request whose answer is long."""
    return chat(id, num_characters=2_000, max_tokens=None, timeout_s=timeout_s)


def reader(id: str, timeout_s: float) -> ChatRequest:
    """Return a request whose prompt is long, and its answer short."""
    return chat(id, num_characters=8_000, max_tokens=None, timeout_s=timeout_s)


def plane_of_talkers_and_readers(num_refused: int, *, num_ended: int = 60) -> CheckedPlane:
    """Return a plane whose one engine has the first token after a second, and which refused so many talkers and readers
    for each that was let in; of the talkers some have ended: the last with 800 tokens, or while others run with 10."""
    plane = CheckedPlane(Plane(("chat", "embed"), policy="hybrid", admission="deadline"))
    plane.up(chat_engine(max_running=64))
    for number in range(60):
        plane.submit(talker(f"t{number}", 1e3), reader(f"r{number}", 1e3))
        for again in range(num_refused):
            plane.submit(talker(f"late t{number}-{again}", 1e-3), reader(f"late r{number}-{again}", 1e-3))
        plane.now_s += 1.0
        plane.first(f"t{number}", f"r{number}")
        plane.now_s += 1.0
        lasts = [finished(f"r{number}", completion_tokens=10)]
        if number < num_ended:
            lasts.append(finished(f"t{number}", completion_tokens=800 if num_ended == 60 else 10))
        plane.handle(EngineEnded(EngineId("c1"), tuple(lasts)))
    return plane


def test_where_requests_are_refused_those_with_long_answers_must_have_time_to_spare() -> None:
    plane = plane_of_talkers_and_readers(3)
    plane.submit(talker("t", 2.5), reader("r", 2.5))
    assert (plane.outcome("t"), plane.outcome("r")) == ("SAGE-2201", "open")


def test_where_none_are_refused_nobody_must_have_time_to_spare() -> None:
    plane = plane_of_talkers_and_readers(0)
    plane.submit(talker("t", 2.5), reader("r", 2.5))
    assert (plane.outcome("t"), plane.outcome("r")) == ("open", "open")


def test_answers_that_run_are_known_to_be_long_before_they_end() -> None:
    plane = plane_of_talkers_and_readers(3, num_ended=20)
    plane.submit(talker("t", 2.5), reader("r", 2.5))
    assert (plane.outcome("t"), plane.outcome("r")) == ("SAGE-2201", "open")


def test_answers_of_an_engine_that_was_lost_run_no_more() -> None:
    plane = plane_of_talkers_and_readers(3, num_ended=20)
    plane.down("c1")
    plane.up(chat_engine("c1", max_running=64))
    plane.now_s += 1.0
    plane.submit(talker("let in", 1e3), reader("r", 1e3))
    plane.now_s += 1.0
    plane.first("let in", "r")
    plane.submit(talker("t", 2.5))
    assert plane.outcome("t") == "open"


def test_a_first_token_that_is_said_again_begins_no_answer() -> None:
    plane = plane_of_talkers_and_readers(3, num_ended=59)
    for _ in range(200):
        plane.now_s += 0.01
        plane.first("t59")
    plane.end("c1", "t59")
    plane.now_s += 60.0
    plane.submit(talker("t", 2.5))
    assert plane.outcome("t") == "open"
