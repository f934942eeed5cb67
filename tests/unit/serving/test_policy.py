"""Policies: their names, and whom each serves first."""

from collections import Counter

import pytest

from cluster.serving.policy import AGEING_S, BEFOREHAND_TOKENS, FLOOR_SHARES, POLICY_NAMES, Policy, policy_named
from cluster.serving.ticket import Ticket
from sage.base.errors import UnknownPolicy
from sage.base.inference import ServiceClass
from tests.unit.serving.arrange import BATCH, INTERACTIVE, STANDARD, chat, waiting


def served(policy: Policy, *tickets: Ticket, num: int | None = None) -> list[str]:
    """Return the ids of the first `num` that the policy serves, of tickets that all wait."""
    order = policy.order()
    for ticket in tickets:
        order.add(ticket)
    return [order.take(0.0).request.id for _ in range(len(tickets) if num is None else num)]


def test_priority_serves_interactive_before_standard_before_batch() -> None:
    tickets = [waiting(chat(c.value, c), n) for n, c in enumerate((BATCH, STANDARD, INTERACTIVE))]
    assert served(policy_named("priority"), *tickets) == ["interactive", "standard", "batch"]


def test_fifo_serves_in_order_of_arrival_whatever_the_class() -> None:
    tickets = [waiting(chat(str(n), c), n) for n, c in enumerate((BATCH, INTERACTIVE, STANDARD))]
    assert served(policy_named("fifo"), *tickets) == ["0", "1", "2"]


def test_edf_serves_the_nearest_deadline_and_a_class_without_one_by_its_patience() -> None:
    late, soon = waiting(chat("late", timeout_s=60.0), 1), waiting(chat("soon", timeout_s=1.0), 2)
    batch, interactive = waiting(chat("batch", BATCH), 3), waiting(chat("interactive", INTERACTIVE), 4)
    assert served(policy_named("edf"), late, soon, batch, interactive) == ["soon", "interactive", "late", "batch"]


def test_edf_serves_an_old_batch_request_before_a_new_interactive_one() -> None:
    old, new = waiting(chat("old", BATCH), 1, 0.0), waiting(chat("new", INTERACTIVE), 2, 599.0)
    assert served(policy_named("edf"), new, old) == ["old", "new"]


@pytest.mark.parametrize("name", ["dlpm", "hybrid"])
def test_a_tenant_with_a_hundred_requests_gets_no_more_than_one_with_ten(name: str) -> None:
    noisy = [waiting(chat(f"n{n}", tenant="noisy"), n) for n in range(100)]
    quiet = [waiting(chat(f"q{n}", tenant="quiet"), 100 + n) for n in range(10)]
    first = served(policy_named(name), *noisy, *quiet, num=20)
    assert Counter(id[0] for id in first) == {"n": 10, "q": 10}


def test_dlpm_shares_tokens_not_requests() -> None:
    long = [waiting(chat(f"l{n}", tenant="long", num_characters=360), n) for n in range(50)]
    short = [waiting(chat(f"s{n}", tenant="short", num_characters=0, max_tokens=10), 50 + n) for n in range(50)]
    tokens = {"l": long[0].cost_tokens, "s": short[0].cost_tokens}
    share: Counter[str] = Counter()
    for id in served(policy_named("dlpm"), *long, *short, num=44):
        share[id[0]] += tokens[id[0]]
    assert abs(share["l"] - share["s"]) <= max(tokens.values())


def test_dlpm_prefers_a_cached_prompt_within_its_quantum_and_fairness_beyond_it() -> None:
    def affinity_tokens(ticket: Ticket) -> float:
        return 100.0 if ticket.request.tenant == "cached" else 0.0

    policy = policy_named("dlpm", affinity_tokens)
    cost = 4_000
    cached = [waiting(chat(f"c{n}", tenant="cached", num_characters=4 * (cost - 11)), n) for n in range(20)]
    other = [waiting(chat(f"o{n}", tenant="other", num_characters=4 * (cost - 11)), 20 + n) for n in range(20)]
    first = served(policy, *other, *cached, num=20)
    assert first[:3] == ["c0", "c1", "c2"]
    assert first[3] == "o0", "the quantum of 8,192 tokens is used up"
    assert abs(Counter(id[0] for id in first)["c"] - 10) <= 2


def test_who_is_served_elsewhere_meanwhile_does_not_stay_first() -> None:
    policy = policy_named("dlpm", lambda ticket: 0.0)
    here, elsewhere = policy.order(), policy.order()
    for n, tenant in enumerate(("a", "b")):
        here.add(waiting(chat(f"{tenant}1", tenant=tenant), n))
    assert here.first() is not None
    elsewhere.add(waiting(chat("a2", tenant="a"), 2))
    elsewhere.take(0.0)
    here.add(waiting(chat("b2", tenant="b"), 3))  # behind another: it changes nothing of itself
    assert here.take(0.0).request.id == "b1"


def test_where_the_route_does_not_ask_what_is_cached_one_head_is_looked_up() -> None:
    asked: list[str] = []

    def affinity_tokens(ticket: Ticket) -> None:
        asked.append(ticket.request.id)

    order = policy_named("dlpm", affinity_tokens, favours_sparse=True).order()
    for n, tenant in enumerate("abcdefgh"):
        ticket = waiting(chat(tenant, tenant=tenant), n)
        order.add(ticket)
        assert ticket.is_sparse is (n > 0)
    assert [order.take(0.0).request.id for _ in range(7)] == list("bcdefgh"), "who is alone of its tenant goes first"
    for n, tenant in enumerate("bcdefg"):
        order.add(waiting(chat(tenant + "2", BATCH, tenant=tenant), 8 + n))
    order.add(waiting(chat("h2", tenant="h"), 14))
    assert order.take(0.0).request.id == "h2", "behind others that are not alone"
    asked.clear()
    assert order.take(0.0).request.id == "a"
    assert asked == ["a"]


def test_what_a_request_took_less_than_it_asked_for_is_given_back_to_its_tenant() -> None:
    policy = policy_named("dlpm")
    order = policy.order()
    tickets = [waiting(chat(f"{t}{n}", tenant=t, max_tokens=989), n) for n in range(8) for t in ("a", "b")]
    for ticket in tickets:
        order.add(ticket)
    shares: Counter[str] = Counter()
    for _ in range(9):
        ticket = order.take(0.0)
        shares[ticket.request.tenant] += 1
        if ticket.request.tenant == "a":
            policy.ended(ticket, ticket.cost_tokens // 2)
    assert shares["a"] > shares["b"]


def test_who_was_forgotten_while_it_waited_moves_back_once_it_is_served() -> None:
    policy = policy_named("dlpm")
    order, other = policy.order(), policy.order()
    for n in range(2):
        order.add(waiting(chat(f"old{n}", tenant="old"), n))
    for n in range(2):  # elsewhere another is served twice, and so stands further than who was served nothing
        served(policy, waiting(chat(f"far{n}", tenant="far"), 2 + n))
    for n in range(1_100):  # by these, all that stand no further than a newcomer are forgotten
        other.add(waiting(chat(f"new{n}", tenant=f"new{n}"), 4 + n))
    assert order.take(0.0).request.id == "old0", "it stood first, and still does"
    order.add(waiting(chat("late", tenant="late"), 2_000))
    assert order.take(0.0).request.id == "late", "who was served stands behind who was not"


def test_a_tenant_that_was_idle_has_saved_nothing_up() -> None:
    policy = policy_named("dlpm")
    order = policy.order()
    for n in range(20):
        order.add(waiting(chat(f"a{n}", tenant="a"), n))
    for _ in range(10):
        order.take(0.0)
    for n in range(20):
        order.add(waiting(chat(f"b{n}", tenant="b"), 20 + n))
    assert Counter(order.take(0.0).request.tenant for _ in range(10))["b"] <= 6


@pytest.mark.parametrize("name", ["priority", "hybrid"])
def test_each_class_gets_its_floor_while_more_urgent_ones_never_end(name: str) -> None:
    order = policy_named(name).order()
    for n in range(100):
        for service_class in (BATCH, STANDARD):
            order.add(waiting(chat(f"{service_class}{n}", service_class), n))
    shares: Counter[ServiceClass] = Counter()
    for n in range(1_000):
        order.add(waiting(chat(f"i{n}", INTERACTIVE), 100 + n))
        shares[order.take(0.0).request.service_class] += 1
    for service_class, floor in FLOOR_SHARES.items():
        assert shares[service_class] >= 0.9 * floor * shares[INTERACTIVE]
    assert shares[INTERACTIVE] >= 800


def test_a_class_that_has_waited_long_is_owed_twice_as_much() -> None:
    def num_batch(now_s: float) -> int:
        order = policy_named("priority").order()
        for n in range(200):
            order.add(waiting(chat(f"b{n}", BATCH), n))
            order.add(waiting(chat(f"i{n}", INTERACTIVE), 200 + n))
        return sum(order.take(now_s).request.service_class is BATCH for _ in range(200))

    assert num_batch(61.0) >= 1.8 * num_batch(0.0)


def num_urgent_before_batch(name: str, now_s: float, *, num_before: int) -> int:
    """Return how many urgent requests go at `now_s` before the first of class batch that its floor lets go first, where
    `num_before` of that class went at 0, while nothing urgent waited; all are alike in tokens."""
    order = policy_named(name).order()
    for n in range(num_before + 1):
        order.add(waiting(chat(f"b{n}", BATCH, max_tokens=2_000), n))
    for _ in range(num_before):
        assert order.take(0.0).request.service_class is BATCH
    for n in range(1_000):
        order.add(waiting(chat(f"i{n}", INTERACTIVE, max_tokens=2_000), 100 + n, now_s))
        if order.take(now_s).request.service_class is BATCH:
            return n
    raise AssertionError("it starves")


@pytest.mark.parametrize("name", ["priority", "hybrid"])
def test_what_a_class_got_while_nobody_was_more_urgent_counts_against_its_floor(name: str) -> None:
    none, five = (num_urgent_before_batch(name, 1.0, num_before=num) for num in (0, 5))
    assert none == pytest.approx(1 / FLOOR_SHARES[BATCH], abs=1)
    assert five == pytest.approx(6 / FLOOR_SHARES[BATCH], abs=1)


def test_no_more_counts_against_a_floor_than_may_nor_for_longer() -> None:
    cost = waiting(chat("one", BATCH, max_tokens=2_000), 0).cost_tokens
    many = 2 * int(BEFOREHAND_TOKENS) // cost
    most = (BEFOREHAND_TOKENS + cost) / FLOOR_SHARES[BATCH] / cost
    assert num_urgent_before_batch("priority", AGEING_S - 1.0, num_before=many) == pytest.approx(most, abs=1)
    assert num_urgent_before_batch("priority", AGEING_S, num_before=many) == num_urgent_before_batch(
        "priority", AGEING_S, num_before=0
    )


@pytest.mark.parametrize("name", POLICY_NAMES)
def test_each_known_name_gives_the_policy_of_that_name(name: str) -> None:
    assert policy_named(name).name == name


@pytest.mark.parametrize(("name", "nearest"), [("fiffo", "fifo"), ("Priority", "priority"), ("lifo", "fifo")])
def test_an_unknown_name_is_refused_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(UnknownPolicy, match=f"Did you mean '{nearest}'") as caught:
        policy_named(name)
    assert caught.value.param == "policy"


def test_only_hybrid_asks_what_makes_more_work_to_have_time_to_spare() -> None:
    assert [name for name in POLICY_NAMES if policy_named(name).is_by_work] == ["hybrid"]
