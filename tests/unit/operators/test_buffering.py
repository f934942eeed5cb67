"""Lists that wait to be filled, and no longer than they may."""

from typing import Any

import pytest

from operators.machine import SetTimer
from sage.base.batch import Batch
from sage.base.errors import InternalError, RecordFailed
from sage.flow.graph import OnError
from sage.flow.spec import MapBatches
from tests.unit.operators.arrange import dead_of, machine, step, values_of


def test_a_list_is_called_when_full_and_the_rest_waits() -> None:
    driven = machine(MapBatches(lambda records: [len(records)], max_records=3, max_wait_s=0.5))
    assert driven.on_batch(Batch([1, 2])) == [SetTimer(0, 0.5)]
    assert driven.room() == 1
    commands = driven.on_batch(Batch([3, 4, 5, 6, 7]))
    assert values_of(commands) == [3, 3]
    assert commands[-1] == SetTimer(0, 0.5)
    assert values_of(driven.on_timer(0)) == [1]


def test_the_time_counts_from_the_first_record_that_waits() -> None:
    driven = machine(MapBatches(list, max_records=3, max_wait_s=0.5))
    driven.on_batch(Batch([1]))
    assert driven.on_batch(Batch([2])) == []


def test_a_timer_that_comes_late_finds_nothing_to_do() -> None:
    driven = machine(MapBatches(list, max_records=2, max_wait_s=0.5))
    driven.on_batch(Batch([1]))
    driven.on_batch(Batch([2]))
    assert driven.on_timer(0) == []


def test_the_end_of_the_stream_calls_what_is_left() -> None:
    driven = machine(MapBatches(list, max_records=9, max_wait_s=0.5))
    driven.on_batch(Batch([1, 2]))
    assert not driven.is_done()
    assert values_of(driven.on_end()) == [1, 2]
    assert driven.is_done()
    assert driven.counts.records_out == 2


def test_a_list_that_fails_follows_the_policy_of_its_step() -> None:
    spec = MapBatches(lambda records: [1 // record for record in records], max_records=2, max_wait_s=1.0)
    lenient = machine(step(spec, on_error=OnError.DEAD_LETTER))
    commands = lenient.on_batch(Batch([1, 1, 0, 1]))
    assert values_of(commands) == [1, 1]
    assert [letter.value for letter in dead_of(commands)] == [0, 1]
    with pytest.raises(RecordFailed, match="records 3 to 4"):
        machine(spec).on_batch(Batch([1, 1, 0, 1]))


def test_replies_and_results_have_no_business_here() -> None:
    driven = machine(MapBatches(list, max_records=2, max_wait_s=0.5))
    with pytest.raises(InternalError):
        driven.on_replies([])
    with pytest.raises(InternalError):
        driven.on_results([])


@pytest.mark.parametrize("returned", ["abc", b"abc", {"a": 1}])
def test_one_record_in_place_of_a_list_is_not_taken_apart(returned: Any) -> None:
    for step_spec in (MapBatches(lambda records: returned), MapBatches(lambda records: returned, 2, 0.5)):
        with pytest.raises(RecordFailed, match="returns a list of records, and it returned a"):
            machine(step_spec).on_batch(Batch([1, 2]))
