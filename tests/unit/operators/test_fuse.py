"""What a fused chain computes where nothing fails."""

from collections.abc import Iterator
from typing import Any

import pytest

from operators.machine import Emit
from sage.base.batch import Batch
from sage.base.errors import InternalError, RecordFailed, SinkUnwritable
from sage.flow.spec import (
    Aggregate,
    Filter,
    FlatMap,
    Fold,
    ForEach,
    KeyBy,
    Map,
    MapBatches,
    Reduce,
    Union,
    Write,
)
from tests.unit.operators.arrange import Remembering, keys_of, machine, outcome, run, step, values_of


def same(record: Any) -> Any:
    return record


def test_steps_run_in_order_over_every_record() -> None:
    assert outcome(Map(lambda x: x + 1), Filter(lambda x: x % 2), Map(str), values=[0, 1, 2]) == ["1", "3"]


def test_a_flat_map_may_give_any_iterable() -> None:
    def pieces(line: str) -> Iterator[str]:
        yield from line.split()

    assert outcome(FlatMap(str.split), FlatMap(list), values=["ab c", "", "d"]) == ["a", "b", "c", "d"]
    assert outcome(FlatMap(pieces), Map(str.upper), values=["a b"]) == ["A", "B"]


def test_a_batch_may_be_any_sequence() -> None:
    for values in ([1, 2], (1, 2), range(1, 3)):
        assert outcome(Map(str), values=values) == ["1", "2"]


def test_a_chain_of_a_union_alone_hands_batches_on() -> None:
    batch = Batch([1], ["k"])
    assert machine(Union()).on_batch(batch) == [Emit(batch)]


def test_nothing_is_emitted_where_nothing_is_left() -> None:
    assert run(Filter(lambda _: False), batches=[[1, 2], []]) == []


def test_a_running_count_gives_every_update_in_order() -> None:
    got = outcome(FlatMap(str.split), KeyBy(same), Aggregate("count"), values=["a b", "a"])
    assert got == [("a", 1), ("b", 1), ("a", 2)]


def test_running_sum_min_and_max_take_what_of_says() -> None:
    def run_with(kind: Any) -> list[Any]:
        return outcome(KeyBy(len), Aggregate(kind, of=ord), values=["b", "a", "c"])

    assert run_with("sum") == [(1, 98), (1, 195), (1, 294)]
    assert run_with("min") == [(1, 98), (1, 97), (1, 97)]
    assert run_with("max") == [(1, 98), (1, 98), (1, 99)]


def test_a_sum_begins_with_the_first_value_so_that_texts_can_be_added() -> None:
    assert outcome(KeyBy(len), Aggregate("sum"), values=["a", "b"]) == [(1, "a"), (1, "ab")]


def test_reduce_begins_with_the_first_record_and_fold_with_its_initial_value() -> None:
    assert outcome(KeyBy(same), Reduce(lambda a, b: a + b), values=[2, 2]) == [(2, 2), (2, 4)]
    assert outcome(KeyBy(same), Fold(10, lambda a, b: a + b), values=[2, 2]) == [(2, 12), (2, 14)]


def test_a_fold_makes_a_new_initial_value_for_each_key() -> None:
    grown = outcome(KeyBy(same), Fold(list, lambda a, b: [*a, b], final=True), values=[1, 2, 1])
    assert grown == [(1, [1, 1]), (2, [2])]


def test_state_that_is_none_counts_as_state() -> None:
    seen: list[Any] = []
    outcome(KeyBy(lambda _: 0), Reduce(lambda a, b: seen.append((a, b))), values=[1, 2, 3])
    assert seen == [(1, 2), (None, 3)]


def test_a_final_aggregate_emits_each_key_once_in_the_order_of_first_sight() -> None:
    commands = run(KeyBy(same), Aggregate("count", final=True), batches=[["b", "a"], ["b", "c"]])
    assert values_of(commands) == [("b", 2), ("a", 1), ("c", 1)]


def test_steps_after_a_final_aggregate_run_at_the_end() -> None:
    got = outcome(
        KeyBy(same),
        Aggregate("count", final=True),
        Map(lambda pair: pair[1]),
        KeyBy(same),
        Aggregate("count", final=True),
        Map(lambda pair: f"{pair[1]} keys came {pair[0]} times"),
        values=["a", "a", "b", "c"],
    )
    assert got == ["1 keys came 2 times", "2 keys came 1 times"]


def test_held_state_is_emitted_in_batches_of_the_size_asked_for() -> None:
    driven = machine(KeyBy(same), Aggregate("count", final=True), batch_records=2)
    driven.on_batch(Batch(range(5)))
    assert [len(command.batch) for command in driven.on_end() if isinstance(command, Emit)] == [2, 2, 1]


def test_falsy_and_odd_keys_are_keys_like_any_other() -> None:
    keys = [0, "", None, (), (0, ""), "ключ", b"", frozenset()]
    assert outcome(KeyBy(same), Aggregate("count", final=True), values=keys * 2) == [(key, 2) for key in keys]


def test_state_lives_from_batch_to_batch_and_not_in_another_instance() -> None:
    first, second = (machine(KeyBy(same), Aggregate("count")) for _ in range(2))
    assert values_of(first.on_batch(Batch(["a"])) + first.on_batch(Batch(["a"]))) == [("a", 1), ("a", 2)]
    assert values_of(second.on_batch(Batch(["a"]))) == [("a", 1)]


def test_a_chain_that_ends_in_key_by_emits_keys_beside_values() -> None:
    commands = run(Filter(bool), KeyBy(str), batches=[[1, 0, 2]])
    assert (values_of(commands), keys_of(commands)) == ([1, 2], ["1", "2"])


def test_a_chain_that_begins_with_an_aggregate_takes_the_keys_of_the_batch() -> None:
    driven = machine(Aggregate("sum"), Map(same))
    assert values_of(driven.on_batch(Batch([1, 2, 3], ["a", "b", "a"]))) == [("a", 1), ("b", 2), ("a", 4)]


def test_values_flow_on_where_a_key_is_followed_by_a_step_that_needs_none() -> None:
    for following in (Map(same), FlatMap(lambda x: [x]), MapBatches(same)):
        commands = run(KeyBy(str), following, batches=[[1, 2]])
        assert (values_of(commands), keys_of(commands)) == ([1, 2], [])


def test_map_batches_takes_at_most_as_many_records_as_it_says() -> None:
    sizes: list[int] = []

    def note(records: list[int]) -> list[int]:
        sizes.append(len(records))
        return records

    assert outcome(MapBatches(note, max_records=2), values=range(5)) == [0, 1, 2, 3, 4]
    assert sizes == [2, 2, 1]


def test_map_batches_may_change_its_list_and_give_another_number_of_records() -> None:
    def ordered(records: list[str]) -> list[str]:
        records.sort()
        return [*records, "c"]

    given = ["b", "a"]
    assert outcome(MapBatches(ordered), values=given) == ["a", "b", "c"]
    assert given == ["b", "a"]


def test_for_each_sees_every_record_and_counts_it_as_out() -> None:
    seen: list[int] = []
    driven = machine(Map(lambda x: x + 1), ForEach(seen.append))
    assert driven.on_batch(Batch([1, 2])) == []
    assert seen == [2, 3]
    assert (driven.counts.records_in, driven.counts.records_out, driven.counts.num_batches) == (2, 2, 1)


def test_a_sink_is_opened_written_in_batches_and_told_how_the_stream_ended() -> None:
    for complete in (True, False):
        sink = Remembering()
        driven = machine(Map(str), Write(sink))
        driven.open()
        assert driven.on_batch(Batch([1, 2])) + driven.on_end() == []
        driven.close(complete=complete)
        assert (sink.records, sink.num_writes, sink.is_complete) == (["1", "2"], 1, complete)
        assert driven.counts.records_out == 2


def test_a_sink_is_not_called_where_nothing_is_left_of_a_batch() -> None:
    sink = Remembering()
    run(Filter(lambda x: x > 2), MapBatches(list), Write(sink), batches=[[1, 2], [3], [1]])
    assert (sink.records, sink.num_writes) == ([3], 1)


def test_a_sink_that_never_opened_is_not_closed() -> None:
    sink = Remembering()
    machine(Write(sink)).close(complete=False)
    assert sink.is_complete is None


def test_a_sink_error_of_its_own_is_shown_as_it_is_and_any_other_names_the_step() -> None:
    class Failing(Remembering):
        def __init__(self, error: Exception) -> None:
            super().__init__()
            self.error = error

        def write(self, records: Any) -> None:
            raise self.error

    with pytest.raises(SinkUnwritable, match="disk full"):
        run(Write(Failing(SinkUnwritable("disk full"))), batches=[[1]])
    with pytest.raises(RecordFailed, match=r"step 'out' \(app\.py:7\) failed on records 1 to 2: KeyError: 'x'"):
        run(step(Write(Failing(KeyError("x"))), "out"), batches=[[1, 2]])


def test_replies_results_and_timers_have_no_business_here() -> None:
    driven = machine(Map(same))
    with pytest.raises(InternalError):
        driven.on_replies([])
    with pytest.raises(InternalError):
        driven.on_results([])
    with pytest.raises(InternalError):
        driven.on_timer(1)


def test_records_go_through_in_parts_of_the_batch_size_also_where_one_becomes_many() -> None:
    sizes: list[int] = []

    def note(records: list[str]) -> list[str]:
        sizes.append(len(records))
        return records

    driven = machine(FlatMap(str.split), MapBatches(note), batch_records=10)
    lines = [f"{at} a b c d" for at in range(20)]
    for _ in range(3):
        commands = driven.on_batch(Batch(lines))
        assert values_of(commands) == [word for line in lines for word in line.split()]
        assert [len(command.batch) for command in commands if isinstance(command, Emit)] == sizes
        assert max(sizes) <= 15
        sizes.clear()


def test_one_record_that_becomes_very_many_leaves_in_parts() -> None:
    driven = machine(FlatMap(range), KeyBy(lambda x: x % 2), batch_records=10)
    for _ in range(2):
        commands = driven.on_batch(Batch([35]))
        assert values_of(commands) == list(range(35))
        assert keys_of(commands) == [x % 2 for x in range(35)]


def test_a_list_that_a_function_wants_whole_is_not_parted() -> None:
    def size(records: list[int]) -> list[int]:
        return [len(records)]

    for max_records in (40, 4):
        driven = machine(MapBatches(size, max_records), batch_records=10)
        assert set(values_of(driven.on_batch(Batch(range(400))))) == {max_records}
