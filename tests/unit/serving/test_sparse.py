"""A tenant that asks for little beside one that asks for more than engines can do: its requests hardly wait."""

import pytest

from cluster.serving.events import Command, EngineUp, FirstTokens
from cluster.serving.plane import Plane
from cluster.serving.policy import SAVED_TOKENS, Policy, policy_named
from cluster.serving.queue import WaitingQueue
from cluster.serving.route import MAX_SCANNED, SLOTS_FOR_A_KEPT_ONE, Router
from cluster.serving.routes import route_named
from cluster.serving.size import TextSizing
from cluster.serving.ticket import Lane
from cluster.serving.window import PromptWindow
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Kind
from tests.unit.serving.arrange import (
    BATCH,
    INTERACTIVE,
    STANDARD,
    CheckedPlane,
    chat,
    chat_engine,
    dispatched,
    waiting,
)

MAX_RUNNING = 2 * SLOTS_FOR_A_KEPT_ONE


def sent_by(commands: list[Command]) -> list[str]:
    """Return the requests that engines are given, in order."""
    return [id for _, ids in dispatched(commands) for id in ids]


def shared_engine(policy: str = "hybrid", admission: str = "none") -> tuple[CheckedPlane, set[RequestId]]:
    """Return a plane whose engine worked for a noisy and a quiet tenant and is full, with noisy requests that wait;
    and the requests that the engine holds."""
    plane = CheckedPlane(Plane(policy=policy, admission=admission))
    plane.handle(EngineUp(chat_engine("c1", max_running=MAX_RUNNING)))
    both = [chat(f"{tenant[0]}{n}", tenant=tenant) for n in range(4) for tenant in ("quiet", "noisy")]
    held = {RequestId(id) for id in sent_by(plane.submit(*both))}
    for request in both:
        plane.now_s += 0.1
        plane.handle(FirstTokens(EngineId("c1"), (request.id,)))
    for n in range(4, 2 * MAX_RUNNING):
        ids = sent_by(plane.submit(chat(f"n{n}", tenant="noisy")))
        held.update(RequestId(id) for id in ids)
    return plane, held


@pytest.mark.parametrize("policy", ["dlpm", "hybrid"])
def test_an_engine_that_tenants_share_keeps_sequences_for_who_asks_for_little(policy: str) -> None:
    plane, held = shared_engine(policy)
    assert len(held) == MAX_RUNNING - MAX_RUNNING // SLOTS_FOR_A_KEPT_ONE
    assert sent_by(plane.submit(chat("now", tenant="quiet"))) == ["now"]


def test_who_asks_for_more_than_the_kept_sequences_waits_for_its_turn() -> None:
    plane, _ = shared_engine()
    kept = MAX_RUNNING // SLOTS_FOR_A_KEPT_ONE
    sent = [sent_by(plane.submit(chat(f"now{n}", tenant="quiet"))) for n in range(kept + 2)]
    assert sent == [*([f"now{n}"] for n in range(kept)), [], []]


def test_a_batch_is_in_no_hurry() -> None:
    plane, _ = shared_engine()
    assert sent_by(plane.submit(chat("later", BATCH, tenant="quiet"))) == []


@pytest.mark.parametrize(("policy", "admission"), [("fifo", "none"), ("hybrid", "deadline")])
def test_nothing_is_kept_where_tenants_are_not_alike_or_what_would_be_late_is_refused(
    policy: str, admission: str
) -> None:
    _, held = shared_engine(policy, admission)
    assert len(held) == MAX_RUNNING


def test_an_engine_of_one_tenant_keeps_nothing() -> None:
    plane = CheckedPlane(Plane(policy="hybrid"))
    plane.handle(EngineUp(chat_engine("c1", max_running=MAX_RUNNING)))
    sent = [id for n in range(MAX_RUNNING) for id in sent_by(plane.submit(chat(f"r{n}")))]
    assert len(sent) == MAX_RUNNING


def test_a_window_is_shared_until_one_tenant_alone_was_seen_for_long() -> None:
    window = PromptWindow(is_adaptive=False)
    seen = []
    for tenant in ("a", *(513 * "b")):
        window.worked_off(100, 0.1, tenant)
        seen.append(window.is_shared)
    assert seen == [False, *(512 * [True]), False]


@pytest.mark.parametrize("favours_sparse", [True, False])
def test_what_is_alone_of_its_tenant_goes_before_a_cached_prompt_within_the_quantum(favours_sparse: bool) -> None:
    order = policy_named(
        "hybrid", lambda ticket: 100.0 * (ticket.request.tenant == "noisy"), favours_sparse=favours_sparse
    ).order()
    for n in range(4):
        order.add(waiting(chat(f"n{n}", tenant="noisy"), n))
    order.take(0.0)
    order.add(waiting(chat("q", tenant="quiet"), 4))
    assert order.take(0.0).request.id == ("q" if favours_sparse else "n1")


def test_only_what_comes_while_others_wait_and_nothing_of_its_tenant_is_sparse() -> None:
    order = policy_named("hybrid", favours_sparse=True).order()
    first, second, other, third = (
        waiting(chat(name, tenant=name[0]), n) for n, name in enumerate(("a1", "a2", "b1", "b2"))
    )
    for ticket in (first, second, other, third):
        order.add(ticket)
    assert [ticket.is_sparse for ticket in (first, second, other, third)] == [False, False, True, False]


def test_when_orders_are_made_anew_what_is_sparse_still_is_and_is_counted() -> None:
    def policy() -> Policy:
        return policy_named("dlpm", lambda ticket: None, favours_sparse=True)

    queue = WaitingQueue(policy())
    lane = Lane("chat", Kind.CHAT)
    for n, tenant in enumerate("abc"):
        queue.add(waiting(chat(tenant, STANDARD if tenant in "ab" else BATCH, tenant=tenant), n))
    queue.remove(RequestId("a"))
    queue.change_policy(policy())
    assert queue.take(lane, 0.0).request.id == "b", "it came while another waited"
    queue.add(waiting(chat("d", BATCH, tenant="d"), 3))
    queue.add(waiting(chat("e", tenant="e"), 4))
    assert queue.take(lane, 0.0).request.id == "e", "behind two that are in no hurry"


def test_a_tenant_saves_up_no_more_than_so_many_tokens_while_it_asks_for_nothing() -> None:
    order = policy_named("dlpm", favours_sparse=True).order()
    cost = waiting(chat("x")).cost_tokens
    order.add(waiting(chat("b", tenant="b"), 0))
    order.take(0.0)
    num = int(3 * SAVED_TOKENS / cost)
    for n in range(num):
        order.add(waiting(chat(f"a{n}", tenant="a"), n))
    for _ in range(num - 10):
        order.take(0.0)
    for n in range(num):
        order.add(waiting(chat(f"b{n}", tenant="b"), num + n))
    taken = [order.take(0.0).request.tenant for _ in range(num)]
    num_first = taken.index("a")
    assert abs(num_first - SAVED_TOKENS / cost) <= 2


@pytest.mark.parametrize("num_engines", [3, 4 * MAX_SCANNED])
def test_the_soonest_engine_is_who_has_the_prompt_cached_of_many_too(num_engines: int) -> None:
    router = Router(route_named("auto", TextSizing()))
    accounts = [router.add(chat_engine(f"c{n}", max_running=8)) for n in range(num_engines)]
    for at, account in enumerate(accounts):
        ticket = waiting(chat(f"r{at}", text=f"beginning {at} " * 400), at)
        router.charge(account, (ticket,), 0.0)
        router.saw_first_token(account, ticket, 1.0)
    again = waiting(chat("again", text=f"beginning {num_engines // 2} " * 400 + "and more"), num_engines)
    soonest = router.soonest(again, 2.0)
    assert soonest is not None
    assert soonest.info.engine_id == f"c{num_engines // 2}"


def test_without_a_free_sequence_or_known_times_no_engine_is_the_soonest() -> None:
    router = Router()
    account = router.add(chat_engine(max_running=1))
    first = waiting(chat("r1", INTERACTIVE), 1)
    assert router.soonest(first, 0.0) is None
    router.charge(account, (first,), 0.0)
    router.saw_first_token(account, first, 1.0)
    assert router.soonest(waiting(chat("r2", STANDARD), 2), 1.0) is None
