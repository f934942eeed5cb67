"""The drain rate and the deadlines, against what can be counted by hand."""

import math

import pytest

from cluster.serving.deadlines import Deadlines
from cluster.serving.drain import DrainRate
from cluster.serving.ticket import Ticket
from tests.unit.serving.arrange import chat, waiting


def test_a_steady_rate_is_seen_soon_and_kept() -> None:
    rate = DrainRate()
    for tick in range(1, 400):
        rate.left(2, tick * 0.25)
        if tick > 20:
            assert rate.per_s(tick * 0.25) == pytest.approx(8.0, rel=0.25)


def test_a_rate_fades_once_nothing_leaves_any_more() -> None:
    rate = DrainRate()
    for second in range(60):
        rate.left(10, float(second))
    assert rate.per_s(90.0) < 1.0


def test_the_time_to_retry_is_when_half_of_what_waits_has_left_within_bounds() -> None:
    rate = DrainRate()
    assert rate.retry_after_s(100, 0.0) == 1.0
    for second in range(60):
        rate.left(10, float(second))
    assert rate.retry_after_s(100, 59.0) == pytest.approx(5.0, rel=0.1)
    assert rate.retry_after_s(1_000_000, 59.0) == 60.0
    assert rate.retry_after_s(1, 59.0) == 0.1


def due_at(id: str, timeout_s: float | None) -> Ticket:
    return waiting(chat(id, timeout_s=timeout_s), int(id))


def test_deadlines_come_in_order_without_those_answered_before() -> None:
    deadlines = Deadlines()
    tickets = [due_at(str(n), timeout_s) for n, timeout_s in enumerate((4.0, None, 2.0, 3.0))]
    for ticket in tickets:
        deadlines.add(ticket)
    tickets[2].is_answered = True
    deadlines.answered(tickets[2])
    assert deadlines.earliest_s() == 3.0
    assert deadlines.due(3.5) == [tickets[3]]
    assert deadlines.due(9.0) == [tickets[0]]
    assert deadlines.earliest_s() == math.inf


def test_answered_requests_with_far_deadlines_take_no_memory_for_long() -> None:
    deadlines = Deadlines()
    for number in range(5000):
        ticket = due_at(str(number), 600.0)
        deadlines.add(ticket)
        ticket.is_answered = True
        deadlines.answered(ticket)
        assert len(deadlines) <= 200


def test_time_without_work_does_not_count_against_the_rate() -> None:
    rate = DrainRate()
    rate.goes_on(0.0)
    for second in range(1, 31):
        rate.left(4, float(second))
    before_per_s = rate.per_s(30.0)
    rate.goes_on(500.0)
    assert rate.per_s(500.0) == pytest.approx(before_per_s) == pytest.approx(4.0, rel=0.1)
