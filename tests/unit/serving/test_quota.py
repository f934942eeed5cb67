"""Quotas of tenants: what is let in, what is given back, and that no budget is ever exceeded."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.serving.events import EngineEnded
from cluster.serving.plane import Plane
from cluster.serving.quota import MAX_FULL, Bucket, Quotas
from sage.base.errors import InvalidRequest, QuotaExceeded
from sage.base.ids import EngineId, RequestId
from sage.base.inference import EmbedRequest
from sage.base.settings import TenantSettings
from tests.unit.serving.arrange import (
    CheckedPlane,
    chat,
    chat_engine,
    embed_engine,
    embedded,
    finished,
    generate,
    waiting,
)

COST = 21  # tokens that `chat` may take: 11 of its prompt, 10 of its answer


def plane_for(*tenants: TenantSettings, max_running: int = 64) -> CheckedPlane:
    plane = CheckedPlane(Plane(("chat",), tenants=tenants))
    plane.up(chat_engine(max_running=max_running))
    return plane


def test_what_a_tenant_may_not_ask_for_now_is_refused_with_when_to_try_again() -> None:
    plane = plane_for(TenantSettings(name="a", tokens_per_minute=2 * COST))
    plane.submit(*(chat(f"a{n}", tenant="a") for n in range(3)), chat("b", tenant="b"))
    assert [plane.outcome(id) for id in ("a0", "a1", "a2", "b")] == ["open", "open", QuotaExceeded.code, "open"]
    retry_after_s = plane.failure("a2").retry_after_s
    assert retry_after_s == 30.0
    plane.wait(30.0)
    plane.submit(chat("a3", tenant="a"))
    assert plane.outcome("a3") == "open"


def test_requests_a_minute_count_whatever_their_length() -> None:
    plane = plane_for(TenantSettings(name="a", requests_per_minute=2))
    plane.submit(*(chat(f"a{n}", tenant="a") for n in range(3)))
    assert plane.failure("a2").code == QuotaExceeded.code
    plane.end("c1", "a0", "a1")
    plane.submit(chat("a3", tenant="a"))
    assert plane.failure("a3").retry_after_s == 30.0


def test_what_an_answer_did_not_need_is_given_back_when_it_ends() -> None:
    plane = plane_for(TenantSettings(name="a", tokens_per_minute=COST + 11))
    plane.submit(chat("a0", tenant="a"))
    plane.submit(chat("a1", tenant="a"))
    assert plane.failure("a1").code == QuotaExceeded.code
    plane.handle(EngineEnded(EngineId("c1"), (finished("a0", prompt_tokens=11, completion_tokens=0),)))
    plane.submit(chat("a2", tenant="a"))
    assert plane.outcome("a2") == "open"
    plane.submit(chat("a3", tenant="a"))
    assert plane.failure("a3").retry_after_s == COST / (COST + 11) * 60.0


def test_what_took_more_than_was_foreseen_is_owed() -> None:
    plane = plane_for(TenantSettings(name="a", tokens_per_minute=60))
    plane.submit(chat("a0", tenant="a"))
    plane.handle(EngineEnded(EngineId("c1"), (finished("a0", prompt_tokens=100, completion_tokens=5),)))
    plane.submit(chat("a1", tenant="a"))
    assert plane.failure("a1").retry_after_s == 105 - 60 + COST


def test_a_request_that_no_engine_got_costs_nothing() -> None:
    plane = plane_for(TenantSettings(name="a", tokens_per_minute=2 * COST), max_running=1)
    plane.submit(chat("a0", tenant="a"), chat("a1", tenant="a"))
    plane.cancel("a1")
    plane.submit(chat("a2", tenant="a"))
    assert plane.outcome("a2") == "open"


def test_what_a_lost_engine_worked_on_costs_nothing() -> None:
    plane = plane_for(TenantSettings(name="a", tokens_per_minute=COST))
    plane.submit(chat("a0", tenant="a"))
    plane.down("c1")
    plane.up(chat_engine("c2"))
    plane.submit(chat("a1", tenant="a"))
    assert plane.outcome("a1") == "open"


def test_a_request_for_more_than_a_minutes_tokens_is_the_callers_fault() -> None:
    plane = plane_for(TenantSettings(name="a", tokens_per_minute=COST - 1))
    plane.submit(chat("a0", tenant="a"))
    assert plane.failure("a0").code == InvalidRequest.code


def test_a_tenant_has_no_more_requests_waiting_than_it_may_and_others_still_wait() -> None:
    plane = plane_for(TenantSettings(name="a", max_waiting=1), max_running=1)
    plane.submit(*(chat(f"a{n}", tenant="a") for n in range(3)), chat("b", tenant="b"))
    outcomes = [plane.outcome(id) for id in ("a0", "a1", "a2", "b")]
    assert outcomes == ["open", "open", QuotaExceeded.code, "open"]
    assert plane.plane.view().num_waiting == 2


def test_a_star_stands_for_each_tenant_that_is_not_named_with_an_account_of_its_own() -> None:
    plane = plane_for(TenantSettings(name="*", requests_per_minute=1), TenantSettings(name="a", requests_per_minute=2))
    plane.submit(*(chat(f"{name}{n}", tenant=name) for name in "abc" for n in range(2)))
    refused = {id for id in ("a0", "a1", "b0", "b1", "c0", "c1") if plane.outcome(id) != "open"}
    assert refused == {"b1", "c1"}


def test_accounts_of_tenants_that_came_once_are_forgotten() -> None:
    quotas = Quotas([TenantSettings(name="*", requests_per_minute=1)])
    for n in range(3 * MAX_FULL):
        ticket = waiting(chat(f"r{n}", tenant=f"t{n}"))
        quotas.charge(ticket, float(n))
        quotas.settle(ticket, None, float(n))
    assert len(quotas._accounts) <= MAX_FULL + 60


def test_a_tenant_of_twice_the_weight_is_served_twice_as_often() -> None:
    plane = CheckedPlane(Plane(("chat",), policy="dlpm", tenants=[TenantSettings(name="b", weight=2.0)]))
    plane.up(chat_engine(max_running=1))
    plane.submit(*(chat(f"{name}{n}", tenant=name) for n in range(12) for name in "ab"))
    served = []
    for _ in range(12):
        [engine] = plane.plane.view().engines
        assert engine.num_running == 1
        running = next(iter(next(iter(plane.plane._router)).held))
        served.append(str(running)[0])
        plane.handle(EngineEnded(EngineId("c1"), (finished(running, prompt_tokens=11, completion_tokens=10),)))
    assert served.count("b") == 8


@given(
    per_minute=st.integers(1, 1000),
    steps=st.lists(
        st.tuples(st.floats(0.0, 100.0), st.integers(1, 1200), st.floats(0.0, 1.0), st.booleans()), max_size=60
    ),
)
def test_whatever_comes_and_ends_no_budget_is_ever_exceeded(
    per_minute: int, steps: list[tuple[float, int, float, bool]]
) -> None:
    bucket, now_s = Bucket(per_minute, 0.0), 0.0
    open_amounts: list[int] = []
    used = 0.0
    spans: list[tuple[float, float]] = [(0.0, 0.0)]  # when, and what was used or may be by then
    for after_s, amount, share, ends in steps:
        now_s += after_s
        if ends and open_amounts:
            charged = open_amounts.pop(0)
            bucket.take(int(charged * share) - charged, now_s)
            used += int(charged * share) - charged
        elif bucket.wait_s(amount, now_s) == 0.0:
            bucket.take(amount, now_s)
            open_amounts.append(amount)
            used += amount
        spans.append((now_s, used))
        assert bucket.level(now_s) >= -1e-6
        assert all(used - before <= per_minute * (1 + (now_s - at_s) / 60) + 1e-6 for at_s, before in spans)


def test_a_wait_as_told_is_enough() -> None:
    bucket = Bucket(7, 0.0)
    bucket.take(7, 0.0)
    wait_s = bucket.wait_s(3, 1.0)
    assert wait_s > 0.0
    assert bucket.wait_s(3, 1.0 + wait_s + 1e-9) == 0.0
    assert waiting(generate("g")).cost_tokens == COST


def test_a_list_in_parts_is_one_request_to_the_quota_and_each_other_one_more() -> None:
    plane = CheckedPlane(Plane(("embed",), tenants=(TenantSettings(name="a", requests_per_minute=2),)))
    plane.up(embed_engine())

    def part(id: str, list_id: str | None) -> EmbedRequest:
        part_of = None if list_id is None else RequestId(list_id)
        return EmbedRequest(RequestId(id), "embed", ("text",), tenant="a", part_of=part_of)

    plane.submit(*(part(f"x{n}", "x0") for n in range(5)))
    plane.handle(EngineEnded(EngineId("e1"), tuple(embedded(f"x{n}") for n in range(5))))
    plane.submit(part("x5", "x0"), part("y", None), part("z0", "z0"), part("z1", "z0"))
    assert [plane.outcome(id) for id in ("x4", "x5", "y")] == ["finished", "open", "open"]
    assert [plane.outcome(id) for id in ("z0", "z1")] == [QuotaExceeded.code] * 2
    plane.wait(30.0)
    plane.submit(part("z2", "z2"), part("z3", "z2"), part("w", None))
    assert [plane.outcome(id) for id in ("z2", "z3", "w")] == ["open", "open", QuotaExceeded.code]
