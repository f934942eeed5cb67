"""Timestamps and watermarks on their way through machines."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from math import inf, nan
from typing import Any

import pytest

from operators.machine import Call, CallResult, Command, Emit, SetTimer
from operators.state import StepState
from sage.base.batch import Batch
from sage.flow.graph import OnError
from sage.flow.spec import Aggregate, AssignTimestamps, Filter, FlatMap, KeyBy, Map, MapAsync, MapBatches
from tests.unit.operators.arrange import dead_of, machine, step


async def fetch(number: int) -> int:
    return number


def emitted(commands: Sequence[Command]) -> list[Batch]:
    return [command.batch for command in commands if isinstance(command, Emit)]


def timed(values: Sequence[Any], watermark_s: float | None = None) -> Batch:
    """Each record is at ten times itself."""
    return Batch(values, None, [10.0 * value for value in values], watermark_s)


def test_fused_steps_keep_the_time_of_each_record_and_the_watermark_follows() -> None:
    driven = machine(Map(lambda n: n + 1), Filter(lambda n: n != 3), FlatMap(lambda n: [n] * (n - 1)), KeyBy(str))
    assert emitted(driven.on_batch(timed([1, 2, 3], 20.0))) == [
        Batch([2, 4, 4, 4], ["2", "4", "4", "4"], [10.0, 30.0, 30.0, 30.0], 20.0),
    ]
    assert emitted(driven.on_batch(Batch((), watermark_s=30.0))) == [Batch((), watermark_s=30.0)]


def test_a_record_without_a_time_fails_and_moves_no_watermark() -> None:
    driven = machine(step(AssignTimestamps(float, max_out_of_order_s=2), on_error=OnError.DEAD_LETTER))
    commands = driven.on_batch(Batch(["5", "nan", "inf", "4", "x", "-inf"]))
    assert emitted(commands) == [Batch(["5", "4"], None, [5.0, 4.0], 3.0)]
    assert [letter.value for letter in dead_of(commands)] == ["nan", "inf", "x", "-inf"]


@pytest.mark.parametrize("partition", [None, str])
def test_what_is_no_number_is_no_time(partition: Any) -> None:
    times = AssignTimestamps(lambda time: time, partition=partition)
    driven = machine(step(times, on_error=OnError.DEAD_LETTER))
    commands = driven.on_batch(Batch([5.0, "6", None]))
    assert [batch.values for batch in emitted(commands)] == [[5.0]]
    assert [letter.error for letter in dead_of(commands)] == [
        f"ValueError: {bad} is no event time: give seconds since the epoch" for bad in ("'6'", "None")
    ]


@pytest.mark.parametrize("partition", [None, lambda _: "all"])
@pytest.mark.parametrize("bad", [Decimal(3), 10**400, -inf, -1e300, 1e300, -1e12, 1e12, nan, 1j])
@pytest.mark.parametrize("is_first", [True, False])
def test_what_no_window_can_reckon_with_fails_alone(partition: Any, bad: Any, is_first: bool) -> None:
    times = AssignTimestamps(lambda time: time, partition=partition)
    driven = machine(step(times, on_error=OnError.DEAD_LETTER))
    commands = driven.on_batch(Batch([bad, 5, 4] if is_first else [5, bad, 4]))
    [batch] = emitted(commands)
    assert (batch.timestamps_s, batch.watermark_s) == ([5.0, 4.0], 5.0)
    assert [letter.error.partition("; ")[0].rpartition(" is ")[2] for letter in dead_of(commands)] == [
        "no event time: give seconds since the epoch"
    ]


def test_a_stream_of_bad_times_alone_moves_no_watermark() -> None:
    driven = machine(step(AssignTimestamps(float), on_error=OnError.DEAD_LETTER))
    assert [batch.watermark_s for batch in emitted(driven.on_batch(Batch(["-inf", "1e12"])))] == []


@pytest.mark.parametrize(
    ("now", "divisor"), [(1_700_000_000_000, "1e3"), (1.7e15, "1e6"), (1_700_000_000_000_000_000, "1e9")]
)
def test_times_in_other_units_say_what_to_divide_by(now: float, divisor: str) -> None:
    driven = machine(step(AssignTimestamps(lambda time: time), on_error=OnError.DEAD_LETTER))
    [letter] = dead_of(driven.on_batch(Batch([now])))
    assert letter.error.endswith(f"seconds, divide by {divisor}")


def test_a_record_whose_time_was_read_at_the_second_try_counts() -> None:
    seen: set[int] = set()

    def once(number: int) -> float:
        if number not in seen:
            seen.add(number)
            raise ValueError(number)
        return float(number)

    driven = machine(step(AssignTimestamps(once), on_error=OnError.RETRY, retries=1), Map(lambda n: -n), KeyBy(str))
    assert emitted(driven.on_batch(Batch([1, 3, 2]))) == [Batch([-1, -3, -2], ["-1", "-3", "-2"], [1.0, 3.0, 2.0], 3.0)]


def test_running_aggregates_have_the_time_of_the_record_that_made_them() -> None:
    driven = machine(KeyBy(lambda n: n % 2), Aggregate("sum"), Map(lambda pair: pair[1]))
    assert emitted(driven.on_batch(timed([1, 2, 3]))) == [Batch([1, 2, 4], None, [10.0, 20.0, 30.0])]


def test_a_record_that_is_mended_keeps_its_time() -> None:
    seen: set[int] = set()

    def once(number: int) -> int:
        if number == 2 and number not in seen:
            seen.add(number)
            raise ValueError(number)
        return number

    driven = machine(
        Map(abs), step(Map(once), on_error=OnError.RETRY, retries=1), FlatMap(lambda n: [n, n]), KeyBy(str)
    )
    [batch] = emitted(driven.on_batch(timed([1, 2, 3])))
    assert batch.timestamps_s == [10.0, 10.0, 20.0, 20.0, 30.0, 30.0]
    assert batch.keys == ["1", "1", "2", "2", "3", "3"]


def test_a_record_set_aside_takes_its_time_with_it() -> None:
    driven = machine(step(FlatMap(lambda n: [1 // (n - 2)] * 2), on_error=OnError.DEAD_LETTER))
    commands = driven.on_batch(timed([1, 2, 3]))
    assert [batch.timestamps_s for batch in emitted(commands)] == [[10.0, 10.0, 30.0, 30.0]]
    assert len(dead_of(commands)) == 1


def test_lists_keep_times_record_by_record_and_other_lengths_get_the_latest() -> None:
    same = machine(MapBatches(lambda ns: [n + 1 for n in ns], max_records=2))
    assert emitted(same.on_batch(timed([1, 2, 3]))) == [Batch([2, 3, 4], None, [10.0, 20.0, 30.0])]
    fewer = machine(MapBatches(lambda ns: [sum(ns)], max_records=2))
    assert emitted(fewer.on_batch(timed([2, 1, 3]))) == [Batch([3, 3], None, [20.0, 30.0])]


def test_a_list_that_waits_holds_the_watermark_back() -> None:
    driven = machine(MapBatches(list, max_records=2, max_wait_s=0.5))
    assert emitted(driven.on_batch(timed([1, 2, 3], 30.0))) == [Batch([1, 2], None, [10.0, 20.0])]
    assert emitted(driven.on_timer(0)) == [Batch([3], None, [30.0], 30.0)]
    assert emitted(driven.on_batch(Batch((), watermark_s=40.0))) == [Batch([], None, None, 40.0)]


def test_a_watermark_waits_for_the_calls_before_it() -> None:
    driven = machine(MapAsync(fetch))
    calls = [command for command in driven.on_batch(timed([1, 2], 20.0)) if isinstance(command, Call)]
    assert emitted(driven.on_batch(Batch((), watermark_s=25.0))) == []
    assert emitted(driven.on_results([CallResult(calls[1].call_id, 2, None)])) == []
    assert emitted(driven.on_results([CallResult(calls[0].call_id, 1, None)])) == [
        Batch([1, 2], None, [10.0, 20.0], 25.0)
    ]
    assert emitted(driven.on_batch(Batch((), watermark_s=30.0))) == [Batch([], None, None, 30.0)]


def test_the_watermark_of_a_record_that_was_given_up_leaves_all_the_same() -> None:
    driven = machine(step(MapAsync(fetch), on_error=OnError.DEAD_LETTER))
    [call] = [command for command in driven.on_batch(timed([1], 10.0)) if isinstance(command, Call)]
    commands = driven.on_results([CallResult(call.call_id, None, ValueError())])
    assert emitted(commands) == [Batch([], None, None, 10.0)]


PARTITIONED = AssignTimestamps(lambda pair: pair[1], 1.0, partition=lambda pair: pair[0])


def test_the_partition_that_is_furthest_behind_sets_the_watermark() -> None:
    driven = machine(PARTITIONED)
    marks = [
        emitted(driven.on_batch(Batch(pairs)))[-1].watermark_s
        for pairs in ([("a", 5.0)], [("b", 9.0)], [("b", 3.0), ("a", 20.0)], [("c", 12.0)], [("b", 30.0)])
    ]
    assert marks == [4.0, None, 8.0, None, 11.0], "each a second behind the least of the latest; it never falls"


def test_a_partition_without_records_for_a_while_is_waited_for_no_more() -> None:
    driven = machine(replace(PARTITIONED, idle_after_s=2.5))
    [first, set_timer] = reversed(driven.on_batch(Batch([("a", 5.0), ("b", 9.0)])))
    assert isinstance(set_timer, SetTimer)
    assert set_timer.after_s == 2.5
    assert emitted([first])[0].watermark_s == 4.0
    again = timers_of(driven.on_timer(set_timer.timer_id))
    assert emitted(driven.on_batch(Batch([("b", 10.0)])))[0].watermark_s is None
    [told] = emitted(driven.on_timer(again[0].timer_id))
    assert told == Batch((), watermark_s=9.0)
    assert emitted(driven.on_batch(Batch([("a", 6.0), ("b", 15.0)])))[0].watermark_s is None, "a counts again"
    assert emitted(driven.on_batch(Batch([("a", 13.0)])))[0].watermark_s == 12.0


def test_nobody_looks_while_every_partition_is_idle() -> None:
    driven = machine(replace(PARTITIONED, idle_after_s=2.5))
    [timer] = timers_of(driven.on_batch(Batch([("a", 5.0)])))
    [timer] = timers_of(driven.on_timer(timer.timer_id))
    assert driven.on_timer(timer.timer_id) == []
    assert len(timers_of(driven.on_batch(Batch([("a", 6.0)])))) == 1


def test_partitions_go_on_where_a_snapshot_was_taken() -> None:
    driven = machine(PARTITIONED)
    driven.on_batch(Batch([("a", 5.0), ("b", 9.0)]))
    anew = machine(PARTITIONED)
    assert emitted(anew.restore(driven.snapshot())) == [Batch((), watermark_s=4.0)]
    assert emitted(anew.on_batch(Batch([("b", 20.0)])))[0].watermark_s is None


@pytest.mark.parametrize(("idle_after_s", "told"), [(None, []), (2.5, [Batch((), watermark_s=4.0)])])
def test_of_what_other_instances_had_partitions_count_that_can_be_idle(
    idle_after_s: float | None, told: list[Batch]
) -> None:
    dealt = StepState(heard=[("a", 5.0), ("b", 7.0), ("a", 9.0)], is_dealt=True)
    anew = machine(replace(PARTITIONED, idle_after_s=idle_after_s))
    assert emitted(anew.restore({next(iter(anew.snapshot())): dealt})) == told


def test_a_record_whose_partition_gives_it_no_time_fails_alone() -> None:
    driven = machine(step(PARTITIONED, on_error=OnError.DEAD_LETTER))
    commands = driven.on_batch(Batch([("a", 5.0), ("b", inf), ("c",), ("a", float("nan"))]))
    assert [letter.value for letter in dead_of(commands)] == [
        ("b", inf),
        ("c",),
        ("a", pytest.approx(float("nan"), nan_ok=True)),
    ]
    assert emitted(commands)[0].watermark_s == 4.0


def timers_of(commands: Sequence[Command]) -> list[SetTimer]:
    return [command for command in commands if isinstance(command, SetTimer)]
