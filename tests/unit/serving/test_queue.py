"""The queue of waiting requests against a sorted list."""

from random import Random

import pytest

from cluster.serving.policy import POLICY_NAMES, policy_named
from cluster.serving.queue import WaitingQueue
from cluster.serving.ticket import Lane, Ticket
from sage.base.ids import RequestId
from sage.base.inference import Kind, ServiceClass
from tests.unit.serving.arrange import BATCH, INTERACTIVE, chat, embed, waiting

CHAT = Lane("chat", Kind.CHAT)
EMBED = Lane("embed", Kind.EMBED)


def ticket(id: str, arrival: int, service_class: ServiceClass = ServiceClass.STANDARD) -> Ticket:
    tenant = f"t{arrival % 5}"
    request = chat(id, service_class, tenant=tenant) if arrival % 3 else embed(id, 1, service_class)
    return waiting(request, arrival, 0.0)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_added_removed_and_reordered_each_ticket_is_taken_once(seed: int) -> None:
    rng = Random(seed)
    queue = WaitingQueue(policy_named("fifo"))
    expected: dict[str, Ticket] = {}
    for arrival in range(600):
        match rng.randint(0, 4):
            case 0 if expected:
                id = rng.choice(list(expected))
                assert queue.remove(RequestId(id)) is expected.pop(id)
            case 1:
                queue.change_policy(policy_named(rng.choice(POLICY_NAMES)))
            case 2:
                for lane in (CHAT, EMBED):
                    there = [t for t in expected.values() if t.lane == lane]
                    first = queue.first(lane)
                    assert (queue.head(lane) is None) == (first is None) == (not there)
                    if first is not None:
                        assert queue.take(lane, float(arrival)) is first
                        assert expected.pop(first.request.id) is first
            case _:
                added = ticket(f"r{arrival}", arrival, rng.choice(list(ServiceClass)))
                queue.add(added)
                expected[added.request.id] = added
        assert len(queue) == len(expected)


@pytest.mark.parametrize("seed", range(5))
def test_fifo_is_a_list_sorted_by_arrival(seed: int) -> None:
    rng = Random(seed)
    queue = WaitingQueue(policy_named("fifo"))
    arrivals = rng.sample(range(100), 100)
    for arrival in arrivals:
        queue.add(ticket(f"r{arrival}", 3 * arrival + 1))
    assert [t.arrival for t in queue.take_all(CHAT, 0.0)] == [3 * arrival + 1 for arrival in range(100)]


def test_an_id_that_was_removed_may_wait_again_at_its_new_place() -> None:
    queue = WaitingQueue(policy_named("fifo"))
    for arrival, id in ((1, "a"), (2, "b")):
        queue.add(ticket(id, arrival))
    queue.remove(RequestId("a"))
    queue.add(ticket("a", 4))
    assert [t.request.id for t in queue.take_all(CHAT, 0.0)] == ["b", "a"]


def test_removing_what_does_not_wait_gives_none() -> None:
    assert WaitingQueue(policy_named("fifo")).remove(RequestId("a")) is None


def test_a_new_policy_orders_what_waits_already() -> None:
    queue = WaitingQueue(policy_named("fifo"))
    queue.add(ticket("late", 1, BATCH))
    queue.add(ticket("urgent", 2, INTERACTIVE))
    queue.change_policy(policy_named("priority"))
    assert [t.request.id for t in queue.take_all(CHAT, 0.0)] == ["urgent", "late"]


def test_what_was_removed_takes_no_memory_for_long() -> None:
    queue = WaitingQueue(policy_named("fifo"))
    queue.add(ticket("stays", 1))
    for arrival in range(2, 5000):
        queue.add(ticket(f"r{arrival}", 3 * arrival + 1))
        queue.remove(RequestId(f"r{arrival}"))
        assert queue.num_places() <= 2 * len(queue) + 65
