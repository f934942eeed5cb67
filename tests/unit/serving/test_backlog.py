"""What would be served before a request, against counting it one by one."""

from random import Random

import pytest

from cluster.serving.backlog import Backlog
from cluster.serving.ticket import Ticket
from sage.base.inference import ServiceClass
from tests.unit.serving.arrange import BATCH, INTERACTIVE, chat, waiting

CLASSES = list(ServiceClass)


def tickets(seed: int, num: int) -> list[Ticket]:
    rng = Random(seed)
    return [
        waiting(
            chat(
                f"r{n}",
                rng.choice(CLASSES),
                num_characters=rng.randint(4, 200_000),
                tenant=f"t{rng.randint(1, 3)}",
            ),
            n,
            rng.uniform(0.0, 60.0),
        )
        for n in range(num)
    ]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("is_by_class", "is_by_due"), [(False, False), (True, False), (False, True), (True, True)])
def test_the_sums_are_those_of_what_goes_first_but_for_what_is_due_nearly_together(
    seed: int, is_by_class: bool, is_by_due: bool
) -> None:
    *there, ticket = tickets(seed, 60)
    backlog, removed = Backlog(), there[::3]
    for other in there:
        backlog.add(other)
    for other in removed:
        backlog.remove(other)
    ahead = backlog.before(ticket, is_by_class=is_by_class, is_by_due=is_by_due, is_fair=False)

    def sum_first(later_s: float) -> float:
        first = 0.0
        for other in (other for other in there if other not in removed):
            urgency = [CLASSES.index(each.request.service_class) for each in (other, ticket)]
            if is_by_class and urgency[0] != urgency[1]:
                is_first = urgency[0] < urgency[1]
            else:
                is_first = not is_by_due or other.order_s <= ticket.order_s + later_s
            first += other.size.work if is_first else 0.0
        return first

    assert sum_first(-20.0) - 0.5 <= ahead.work <= sum_first(20.0) + 0.5


def test_what_is_removed_leaves_nothing() -> None:
    backlog, there = Backlog(), tickets(1, 20)
    for ticket in there:
        backlog.add(ticket)
    assert [backlog.remove(ticket) for ticket in there] == [False] * 19 + [True]
    assert backlog.before(there[0], is_by_class=False, is_by_due=False, is_fair=False).work == 0.0


def test_a_quiet_tenant_has_no_more_before_it_than_each_tenant_gets_by_then() -> None:
    backlog = Backlog()
    for n in range(50):
        backlog.add(waiting(chat(f"n{n}", INTERACTIVE, tenant="noisy"), n))
    quiet = waiting(chat("q", INTERACTIVE, tenant="quiet"), 99)
    assert backlog.before(quiet, is_by_class=True, is_by_due=True, is_fair=True).work == 2 * quiet.size.work


def test_more_urgent_classes_do_not_wait_for_less_urgent_ones() -> None:
    backlog = Backlog()
    backlog.add(waiting(chat("b", BATCH)))
    urgent = waiting(chat("i", INTERACTIVE), 2)
    assert backlog.before(urgent, is_by_class=True, is_by_due=False, is_fair=False).work == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_behind_a_request_is_what_is_due_later_with_all_that_goes_before_it(seed: int) -> None:
    *there, ticket = tickets(seed, 60)
    backlog = Backlog()
    for other in there:
        backlog.add(other)
    found = backlog.behind(ticket)
    alike = [t.order_s for t in there if t.request.service_class is ticket.request.service_class]
    num_behind = sum(waiting.num for _, waiting in found)
    assert sum(order_s > ticket.order_s + 20.0 for order_s in alike) <= num_behind  # within 20 s may be due together
    assert num_behind <= sum(order_s > ticket.order_s for order_s in alike)
    work = [before.work for before, _ in found]
    assert work == sorted(work)
    if found:
        urgencies = [CLASSES.index(t.request.service_class) for t in there]
        own = CLASSES.index(ticket.request.service_class)
        first = [t.size.work for t, urgency in zip(there, urgencies, strict=True) if urgency <= own]
        assert work[-1] == pytest.approx(sum(first))


def test_nothing_is_behind_a_request_where_nothing_waits_or_all_is_due_before() -> None:
    backlog = Backlog()
    ticket = waiting(chat("q", INTERACTIVE), 1, now_s=50.0)
    assert backlog.behind(ticket) == []
    backlog.add(waiting(chat("r", INTERACTIVE), 2, now_s=0.0))
    assert backlog.behind(ticket) == []


def test_what_is_cached_of_a_waiting_prompt_is_no_work() -> None:
    backlog = Backlog()
    cached = waiting(chat("c", INTERACTIVE, num_characters=40_000), 1)
    cached.cached_tokens = 9_000
    backlog.add(cached)
    ahead = backlog.before(waiting(chat("q", BATCH), 2), is_by_class=True, is_by_due=True, is_fair=False)
    assert ahead.prompt_tokens == cached.size.prompt_tokens - 9_000
    assert backlog.remove(cached)
