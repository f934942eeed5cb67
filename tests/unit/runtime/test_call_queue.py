"""Permits of calls: never more run than may, and what waits begins in order as soon as one ends."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cluster.runtime.call_queue import CallQueue, num_permits_left
from operators.machine import Call


async def double(number: int) -> int:
    return 2 * number


def calls(*numbers: int, at_once: int | None = 2, again: bool = False) -> list[Call]:
    return [Call(number, double, number, None, at_once, again) for number in numbers]


def ids(begun: list[Call]) -> list[int]:
    return [call.call_id for call in begun]


def test_what_waits_begins_in_order_as_soon_as_a_call_ends() -> None:
    queue = CallQueue()
    assert ids(queue.add(calls(1, 2, 3, 4))) == [1, 2]
    assert ids(queue.ended(is_well=True)) == [3]
    assert ids(queue.ended(is_well=True)) == [4]
    assert queue.ended(is_well=True) == queue.ended(is_well=True) == []
    assert ids(queue.add(calls(5))) == [5]


def test_a_call_that_failed_keeps_its_permit_until_it_is_made_again_or_freed() -> None:
    queue = CallQueue()
    queue.add(calls(1, 2, 3))
    assert queue.ended(is_well=False) == []
    assert ids(queue.add(calls(1, again=True))) == [1], "by the permit that it has"
    assert queue.ended(is_well=False) == []
    assert ids(queue.free(1)) == [3]


def test_calls_without_a_bound_begin_at_once() -> None:
    assert ids(CallQueue().add(calls(*range(50), at_once=None))) == list(range(50))


def test_nothing_begins_once_it_is_dropped() -> None:
    queue = CallQueue()
    queue.add(calls(1, 2, 3))
    queue.drop()
    assert queue.ended(is_well=True) == []


def test_a_call_made_again_whose_result_is_known_by_then_leaves_its_permit() -> None:
    first, again, other = *calls(1), *calls(2, 3, again=True)
    assert num_permits_left([first, again, other], [other]) == 1


@given(st.data(), st.integers(1, 4))
def test_whatever_ends_how_each_call_begins_once_and_no_more_than_may_run(data: Any, at_once: int) -> None:
    queue, num_given = CallQueue(), 0
    running: list[int] = []
    failed: list[int] = []
    begun: list[int] = []
    while num_given < 12 or running or failed:
        moves = ["give"] * (num_given < 12) + ["well", "ill"] * bool(running) + ["free", "again"] * bool(failed)
        match data.draw(st.sampled_from(moves)):
            case "give":
                num_given += 1
                new = queue.add(calls(num_given, at_once=at_once))
            case "well":
                running.pop(0)
                new = queue.ended(is_well=True)
            case "ill":
                failed.append(running.pop(0))
                new = queue.ended(is_well=False)
            case "free":
                failed.pop(0)
                new = queue.free(1)
            case _:
                again = failed.pop(0)
                begun.remove(again)
                new = queue.add(calls(again, at_once=at_once, again=True))
        running += ids(new)
        begun += ids(new)
        assert len(running) + len(failed) <= at_once
    assert sorted(begun) == list(range(1, 13))
