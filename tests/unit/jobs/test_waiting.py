"""Which jobs may be placed, and which have waited for long enough."""

import pytest

from cluster.jobs.waiting import WaitingJobs
from sage.base.ids import JobId

A, B = JobId("a"), JobId("b")


@pytest.fixture
def waiting() -> WaitingJobs:
    made = WaitingJobs(patience_s=10.0)
    made.add(A, 0.0, after_s=2.0)
    made.add(B, 1.0)
    return made


def test_a_job_may_be_placed_once_what_ran_of_it_has_stopped(waiting: WaitingJobs) -> None:
    assert waiting.ready(1.0) == [B]
    assert waiting.ready(2.0) == [A, B]


def test_patience_counts_from_when_a_job_may_be_placed(waiting: WaitingJobs) -> None:
    assert [waiting.is_late(A, now_s) for now_s in (11.9, 12.0)] == [False, True]
    assert [waiting.is_late(B, now_s) for now_s in (10.9, 11.0)] == [False, True]


def test_the_next_look_is_when_a_job_may_be_placed_or_is_late(waiting: WaitingJobs) -> None:
    assert [waiting.next_s(now_s) for now_s in (1.0, 2.0)] == [2.0, 11.0]
    waiting.remove(B)
    assert waiting.next_s(2.0) == 12.0
    waiting.remove(A)
    assert (waiting.next_s(2.0), A in waiting) == (None, False)


def test_what_is_put_off_is_tried_again_soon_and_at_the_latest_when_its_time_is_over() -> None:
    waiting = WaitingJobs(1.5)
    waiting.add(A, 0.0)
    waiting.put_off(A, 0.2)
    assert waiting.ready(1.1) == []
    assert waiting.next_s(1.1) == 1.2
    assert waiting.ready(1.2) == [A]
    waiting.put_off(A, 1.2)
    assert waiting.next_s(1.2) == 1.5
    assert waiting.ready(1.5) == [A]
