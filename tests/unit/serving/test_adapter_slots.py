"""Which adapters an engine has ready: as many as it has slots, the one used longest ago goes first."""

import math

import hypothesis.strategies as st
import pytest
from hypothesis import given

from cluster.serving.adapter_slots import AdapterSlots


def test_the_adapter_used_longest_ago_leaves_its_slot_for_another() -> None:
    slots = AdapterSlots(2)
    for adapter in ("a", "b", "a"):
        slots.take(adapter)
        slots.drop(adapter)
    assert slots.next_out == "b"
    assert slots.take("c") is True
    assert set(slots) == {"a", "c"}
    assert slots.take("a") is False
    assert slots.num_loads == 3


def test_while_all_are_at_work_none_can_be_loaded_and_those_there_go_on() -> None:
    slots = AdapterSlots(1)
    slots.take("a")
    slots.take("a")
    can_load = [slots.can_load]
    assert slots.next_out is None
    slots.drop("a")
    can_load.append(slots.can_load)
    with pytest.raises(AssertionError, match="a slot is free"):
        slots.take("b")
    slots.drop("a")
    assert [*can_load, slots.can_load] == [False, False, True]
    assert slots.take("b") is True


def test_work_is_counted_from_the_load_on() -> None:
    slots = AdapterSlots(1)
    slots.take("a", 5.0)
    slots.drop("a")
    slots.take("a", 2.0)
    assert slots.work == {"a": 7.0}
    slots.drop("a")
    slots.take("b", 1.0)
    assert slots.work == {"b": 1.0}


def test_without_a_limit_each_that_was_loaded_stays() -> None:
    slots = AdapterSlots(math.inf)
    assert [slots.take(str(number % 50)) for number in range(100)] == [True] * 50 + [False] * 50
    assert slots.can_load
    assert slots.next_out is None


@given(
    num_slots=st.integers(1, 3),
    steps=st.lists(st.tuples(st.sampled_from("abcde"), st.booleans()), max_size=40),
)
def test_slots_are_never_more_than_there_are_however_requests_come_and_end(
    num_slots: int, steps: list[tuple[str, bool]]
) -> None:
    slots = AdapterSlots(num_slots)
    at_work: list[str] = []
    for adapter, comes in steps:
        if comes and (adapter in slots or slots.can_load):
            was_there = adapter in slots
            assert slots.take(adapter) is not was_there
            at_work.append(adapter)
        elif not comes and at_work:
            slots.drop(at_work.pop(0))
        slots.check()
        assert set(at_work) <= set(slots), "what is at work is never driven out"
