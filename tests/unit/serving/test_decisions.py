"""What makes decisions quick changes none of them."""

import pytest

from cluster.serving.plane import Plane
from cluster.serving.policy import POLICY_NAMES, Policy, policy_named
from cluster.serving.route import Router
from cluster.serving.routes import route_named
from cluster.serving.size import TextSizing
from sage.base.settings import TenantSettings
from tests.unit.serving.arrange import chat, chat_engine, finished, waiting
from tests.unit.serving.plainly import PlainAuto, PlainDlpm, PlainHybrid
from tests.unit.serving.side_by_side import SideBySide

TENANTS = (TenantSettings(name="t1", tokens_per_minute=90_000), TenantSettings(name="t2", max_waiting=20, weight=2.0))


def _plane(policy: str, admission: str, window: str, tenants: tuple[TenantSettings, ...]) -> Plane:
    known = ("chat", "embed")
    return Plane(known, policy=policy, admission=admission, window=window, max_waiting=200, tenants=tenants)


def _decides_plainly(plane: Plane) -> Plane:
    """Return the plane with a route and a policy that look up everything each time."""
    router, queue = plane._router, plane._queue
    router.change_route(PlainAuto())
    weight_of = plane._quotas.weight
    policy: Policy
    match plane.policy:
        case "dlpm":
            policy = PlainDlpm(router.affinity_tokens, weight_of, favours_sparse=router.favours_sparse)
        case "hybrid":
            policy = PlainHybrid(router.affinity_tokens, weight_of, favours_sparse=router.favours_sparse)
        case name:
            policy = policy_named(name, router.affinity_tokens, weight_of)
    queue.change_policy(policy)
    return plane


@pytest.mark.parametrize("tenants", [(), TENANTS], ids=["alike", "terms"])
@pytest.mark.parametrize(("admission", "window"), [("none", "fixed"), ("deadline", "adaptive")])
@pytest.mark.parametrize("policy", POLICY_NAMES)
def test_all_orders_are_those_of_a_plane_that_looks_everything_up_each_time(
    policy: str, admission: str, window: str, tenants: tuple[TenantSettings, ...]
) -> None:
    plane = _plane(policy, admission, window, tenants)
    other = _decides_plainly(_plane(policy, admission, window, tenants))
    both = SideBySide(plane, other, num_engines=5, max_running=6, seed=11)
    both.ask(400, each_s=0.03)
    both.run()
    num_of = both.num_of
    assert num_of["Answer"] >= 380
    assert num_of["Dispatch"] > 150
    assert {"AbortAt", "EndEngine", "WakeAt"} <= num_of.keys()


@pytest.mark.parametrize("route", ["session", "prefix", "auto"])
def test_where_one_engine_alone_has_a_slot_no_route_would_choose_another(route: str) -> None:
    router = Router(route_named(route, TextSizing()))
    accounts = [router.add(chat_engine(f"c{n}", max_running=1)) for n in range(4)]
    tickets = [waiting(chat(f"r{n}", text="the same beginning " * 200 + str(n)), n) for n in range(40)]
    for n, ticket in enumerate(tickets):
        if n >= len(accounts):
            account = accounts[n * 7 % 4]
            router.release(account, [finished(id) for id in account.held], float(n))
            assert router.route.choose(ticket, account, {each.info.engine_id: each for each in accounts}) is account
        chosen = router.choose(ticket, 0.0)
        assert chosen is not None
        router.charge(chosen, (ticket,), float(n))
        router.check()
