"""Admission by deadline: what is refused at the door, and what is not."""

import pytest

from cluster.serving.plane import Plane
from sage.base.errors import UnknownPolicy
from tests.unit.serving.arrange import BATCH, INTERACTIVE, CheckedPlane, chat, chat_engine, dispatched, embed


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
