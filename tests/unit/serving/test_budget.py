"""Budgets of tenants: so many tokens in each hour, day or month, and never more."""

from collections import defaultdict
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.serving.budget import Budget, Period, period_at
from cluster.serving.events import EngineEnded
from cluster.serving.plane import Plane
from cluster.serving.quota import Quotas
from sage.base.errors import BudgetSpent, InvalidRequest
from sage.base.ids import EngineId
from sage.base.settings import TenantSettings
from tests.unit.serving.arrange import CheckedPlane, chat, chat_engine, finished, waiting
from tests.unit.serving.test_quota import COST

PERIODS: tuple[Period, ...] = ("hour", "day", "month")
HOUR_S = 3600.0
HALF_PAST_S = datetime(2026, 1, 31, 23, 30, tzinfo=UTC).timestamp()


def plane_for(*tenants: TenantSettings, max_running: int = 64) -> CheckedPlane:
    """Return a plane that begins half an hour before an hour, a day and a month are over."""
    plane = CheckedPlane()
    plane.plane = Plane(("chat",), tenants=tenants, unix_s_at_zero=HALF_PAST_S - plane.now_s)
    plane.up(chat_engine(max_running=max_running))
    return plane


def a_budget(of: int, period: Period = "hour") -> TenantSettings:
    return TenantSettings(name="a", budget_tokens=of, budget_period=period)


def unix_s(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("period", "begins", "ends"),
    [
        ("hour", "2024-02-29T23:00", "2024-03-01T00:00"),
        ("day", "2024-02-29T00:00", "2024-03-01T00:00"),
        ("month", "2024-02-01T00:00", "2024-03-01T00:00"),
    ],
)
def test_periods_are_those_of_the_calendar(period: Period, begins: str, ends: str) -> None:
    expected = unix_s(begins), unix_s(ends)
    assert period_at(unix_s("2024-02-29T23:59:59.999"), period) == expected
    assert period_at(expected[0], period) == expected, "it begins with its first moment"
    assert period_at(expected[1], period)[0] == expected[1]


def test_the_year_ends_with_december() -> None:
    assert period_at(unix_s("2026-12-31T12:00"), "month") == (unix_s("2026-12-01"), unix_s("2027-01-01"))


@pytest.mark.parametrize("period", PERIODS)
def test_what_is_beyond_a_budget_is_refused_until_it_begins_anew(period: Period) -> None:
    plane = plane_for(a_budget(2 * COST, period))
    plane.submit(*(chat(f"a{n}", tenant="a") for n in range(3)), chat("b", tenant="b"))
    assert [plane.outcome(id) for id in ("a0", "a1", "a2", "b")] == ["open", "open", BudgetSpent.code, "open"]
    failure = plane.failure("a2")
    assert failure.retry_after_s == HOUR_S / 2
    assert "2026-02-01 00:00 UTC" in failure.do
    plane.wait(HOUR_S / 2 - 1.0)
    plane.submit(chat("a3", tenant="a"))
    assert plane.outcome("a3") == BudgetSpent.code
    plane.wait(1.0)
    plane.submit(chat("a4", tenant="a"), chat("a5", tenant="a"), chat("a6", tenant="a"))
    assert [plane.outcome(id) for id in ("a4", "a5", "a6")] == ["open", "open", BudgetSpent.code]


def test_what_a_request_did_not_need_may_be_spent_again() -> None:
    plane = plane_for(a_budget(COST + 11), max_running=1)
    plane.submit(chat("a0", tenant="a"), chat("a1", tenant="a"))
    assert plane.outcome("a1") == BudgetSpent.code
    plane.handle(EngineEnded(EngineId("c1"), (finished("a0", prompt_tokens=11, completion_tokens=0),)))
    plane.submit(chat("a2", tenant="a"))
    plane.cancel("a2")
    plane.down("c1")
    plane.up(chat_engine("c2", max_running=1))
    plane.submit(chat("a3", tenant="a"), chat("a4", tenant="a"))
    assert [plane.outcome(id) for id in ("a3", "a4")] == ["open", BudgetSpent.code]


def test_what_ends_in_another_period_gives_nothing_back_to_that() -> None:
    plane = plane_for(a_budget(COST))
    plane.submit(chat("a0", tenant="a"))
    plane.wait(HOUR_S / 2)
    plane.submit(chat("a1", tenant="a"))
    plane.handle(EngineEnded(EngineId("c1"), (finished("a0", prompt_tokens=11, completion_tokens=0),)))
    plane.submit(chat("a2", tenant="a"))
    assert [plane.outcome(id) for id in ("a0", "a1", "a2")] == ["finished", "open", BudgetSpent.code]


def test_what_took_more_than_was_foreseen_is_spent() -> None:
    plane = plane_for(a_budget(60))
    plane.submit(chat("a0", tenant="a"))
    plane.handle(EngineEnded(EngineId("c1"), (finished("a0", prompt_tokens=100, completion_tokens=5),)))
    plane.submit(chat("a1", tenant="a"))
    assert plane.outcome("a1") == BudgetSpent.code
    [state] = plane.plane.tenants(plane.now_s)
    assert (state.budget_tokens, state.budget_left, state.budget_ends_unix_s) == (60, -45, HALF_PAST_S + HOUR_S / 2)


def test_a_request_for_more_than_a_whole_budget_is_the_callers_fault() -> None:
    plane = plane_for(a_budget(COST - 1))
    plane.submit(chat("a0", tenant="a"))
    assert plane.failure("a0").code == InvalidRequest.code
    assert "20 an hour" in plane.failure("a0").what


def test_an_account_is_remembered_as_long_as_something_of_its_budget_is_spent() -> None:
    quotas = Quotas([TenantSettings(name="*", budget_tokens=COST, budget_period="day")])
    spent = waiting(chat("spent", tenant="a"))
    quotas.charge(spent, 0.0)
    quotas.settle(spent, finished("spent", prompt_tokens=11, completion_tokens=10), 1.0)
    for n in range(3_000):
        ticket = waiting(chat(f"r{n}", tenant=f"t{n}"))
        quotas.charge(ticket, 2.0)
        quotas.settle(ticket, None, 2.0)
    assert isinstance(quotas.refusal(waiting(chat("more", tenant="a")), 3.0), BudgetSpent)
    assert quotas.refusal(waiting(chat("more", tenant="a")), 24 * HOUR_S) is None
    assert len(quotas.names()) < 2_000


@given(
    tokens=st.integers(1, 1000),
    period=st.sampled_from(PERIODS),
    steps=st.lists(
        st.tuples(st.floats(0.0, 3 * 86_400.0), st.integers(1, 1200), st.floats(0.0, 1.0), st.booleans()), max_size=60
    ),
)
def test_whatever_comes_and_ends_no_budget_is_ever_exceeded(
    tokens: int, period: Period, steps: list[tuple[float, int, float, bool]]
) -> None:
    now_s = HALF_PAST_S
    budget = Budget(tokens, period, now_s)
    open_requests: list[tuple[int, float]] = []
    taken: dict[float, int] = defaultdict(int)  # of each period: what was used of what was let in then, or may yet be
    for after_s, amount, share, ends in steps:
        now_s += after_s
        began_s = period_at(now_s, period)[0]
        if ends and open_requests:
            charged, since_s = open_requests.pop(0)
            budget.settle(charged, int(charged * share), since_s, now_s)
            taken[period_at(since_s, period)[0]] -= charged - int(charged * share)
        elif amount <= budget.left(now_s):
            budget.take(amount, now_s)
            open_requests.append((amount, now_s))
            taken[began_s] += amount
        assert max(taken.values(), default=0) <= tokens
        assert budget.left(now_s) == tokens - taken[began_s], "and nothing of it is lost"
