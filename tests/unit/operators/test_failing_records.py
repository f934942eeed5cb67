"""What becomes of a record on which a user's function raises."""

from typing import Any

import pytest

from operators.due_steps import on_dues
from operators.replaying import replaying
from operators.turn_steps import on_turns
from sage.base.batch import Batch
from sage.base.errors import InvalidRequest, RecordFailed
from sage.flow.graph import OnError
from sage.flow.spec import Aggregate, Filter, FlatMap, Fold, KeyBy, Map, MapBatches, Reduce, Spec
from tests.unit.operators.arrange import dead_of, keys_of, machine, outcome, run, step, values_of
from tests.unit.operators.turn_record import RecordedTurns, record

DEAD = OnError.DEAD_LETTER
RETRY = OnError.RETRY


def inverse(number: int) -> float:
    return 1 / number


class Flaky:
    """Raises the first `num_failures` times that it sees a record in `bad`."""

    def __init__(self, num_failures: int, bad: set[Any], give: Any = None) -> None:
        self.num_left = dict.fromkeys(bad, num_failures)
        self.calls: list[Any] = []
        self.give = give

    def __call__(self, record: Any) -> Any:
        self.calls.append(record)
        if self.num_left.get(record, 0):
            self.num_left[record] -= 1
            raise ValueError(f"not {record} now")
        return record if self.give is None else self.give(record)


def test_by_default_the_job_fails_and_the_message_says_step_line_record_and_error() -> None:
    driven = machine(Map(lambda x: x), step(Map(inverse), "invert"))
    driven.on_batch(Batch(range(1, 10_000)))
    with pytest.raises(RecordFailed) as caught:
        driven.on_batch(Batch([0, 5]))
    assert caught.value.what == ("step 'invert' (app.py:7) failed on record 10000: ZeroDivisionError: division by zero")
    assert "It was 0." in caught.value.do
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_the_traceback_begins_with_the_users_own_frame() -> None:
    with pytest.raises(RecordFailed) as caught:
        outcome(Map(inverse), values=[0])
    lines = caught.value.user_traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert __file__ in lines[1]
    assert "in inverse" in lines[1]
    assert lines[-1] == "ZeroDivisionError: division by zero"


def test_where_no_frame_is_the_users_the_traceback_names_the_line_of_the_step() -> None:
    with pytest.raises(RecordFailed) as caught:
        outcome(step(FlatMap(lambda _: None), "cut"), values=["a"])
    assert "File \"app.py\", line 7, in step 'cut'" in caught.value.user_traceback
    with pytest.raises(RecordFailed) as caught:
        outcome(step(Map(str.upper), "shout"), values=[1])
    assert "File \"app.py\", line 7, in step 'shout'" in caught.value.user_traceback


def test_a_long_record_is_cut_and_one_that_cannot_be_shown_is_named() -> None:
    class Unshowable:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    with pytest.raises(RecordFailed) as caught:
        outcome(Map(int), values=["x" * 1_000_000])
    assert len(caught.value.do) < 320
    with pytest.raises(RecordFailed) as caught:
        outcome(Map(inverse), values=[Unshowable()])
    assert "<Unshowable, whose repr raised RuntimeError>" in caught.value.do


def test_a_dead_letter_holds_what_the_failing_step_was_given_and_the_others_go_on() -> None:
    commands = run(
        Map(lambda x: x - 1), step(Map(inverse), "invert", on_error=DEAD), Map(str), batches=[[2, 1, 3], [1]]
    )
    assert values_of(commands) == ["1.0", "0.5"]
    dead = dead_of(commands)
    assert [(letter.step, letter.value, letter.error) for letter in dead] == [
        ("invert", 0, "ZeroDivisionError: division by zero")
    ] * 2
    assert "in inverse" in dead[0].traceback


def test_a_retry_calls_only_the_failing_step_again() -> None:
    before, flaky, after = Flaky(0, set()), Flaky(2, {1, 3}), Flaky(0, set())
    got = outcome(
        Map(before),
        step(Map(flaky), on_error=RETRY, retries=2),
        Map(after),
        values=[0, 1, 2, 3],
    )
    assert got == before.calls == after.calls == [0, 1, 2, 3]
    assert flaky.calls == [0, 1, 1, 1, 2, 3, 3, 3]


def test_a_record_fails_the_job_once_its_tries_are_spent() -> None:
    flaky = Flaky(3, {1})
    with pytest.raises(RecordFailed, match="failed on record 2 after 3 tries: ValueError: not 1 now") as caught:
        outcome(step(Map(flaky), on_error=RETRY, retries=2), values=[0, 1])
    assert flaky.calls == [0, 1, 1, 1]
    assert "During handling" not in caught.value.user_traceback


def test_a_dead_letter_comes_after_the_retries_that_were_asked_for() -> None:
    flaky = Flaky(9, {1})
    commands = run(step(Map(flaky), on_error=DEAD, retries=2), batches=[[1, 2]])
    assert (values_of(commands), len(dead_of(commands)), flaky.calls) == ([2], 1, [1, 1, 1, 2])


def test_an_error_that_would_only_come_again_is_not_tried_again() -> None:
    calls: list[int] = []

    def refuse(record: int) -> None:
        calls.append(record)
        raise InvalidRequest("never")

    with pytest.raises(RecordFailed, match=r"failed on record 1: InvalidRequest: \[SAGE-1203\] never"):
        outcome(step(Map(refuse), on_error=RETRY, retries=5), values=[1])
    assert calls == [1]


def test_a_later_step_has_tries_of_its_own_after_an_earlier_one_was_mended() -> None:
    first, second = Flaky(1, {1}), Flaky(2, {1})
    commands = run(
        step(Map(first), "a", on_error=RETRY, retries=1),
        step(Map(second), "b", on_error=RETRY, retries=2),
        step(KeyBy(str), "c"),
        batches=[[0, 1, 2]],
    )
    assert (values_of(commands), keys_of(commands)) == ([0, 1, 2], ["0", "1", "2"])
    assert first.calls == [0, 1, 1, 2]
    assert second.calls == [0, 1, 1, 1, 2]


def test_a_key_that_was_mended_goes_with_its_record() -> None:
    flaky = Flaky(1, {1}, give=str)
    for spec in (KeyBy(flaky), KeyBy(Flaky(1, {2}, give=str))):
        commands = run(step(spec, on_error=RETRY, retries=1), batches=[[0, 1, 2]])
        assert (values_of(commands), keys_of(commands)) == ([0, 1, 2], ["0", "1", "2"])
    counted = run(step(KeyBy(Flaky(1, {1}, give=str)), on_error=RETRY, retries=1), Aggregate("count"), batches=[[0, 1]])
    assert values_of(counted) == [("0", 1), ("1", 1)]


def test_a_record_that_was_mended_keeps_its_number() -> None:
    mended = Flaky(1, {3})
    with pytest.raises(RecordFailed, match=r"step 'b' .* failed on record 3: "):
        outcome(
            step(
                Map(
                    mended,
                ),
                "a",
                on_error=RETRY,
                retries=1,
            ),
            step(Map(lambda x: 1 // (x - 3)), "b"),
            values=[1, 2, 3, 4],
        )


def test_a_failing_flat_map_leaves_none_of_its_pieces() -> None:
    def pieces(word: str) -> Any:
        for letter in word:
            if letter == "!":
                raise ValueError(word)
            yield letter

    commands = run(step(FlatMap(pieces), on_error=DEAD), Map(str.upper), batches=[["ab", "cd!", "e"]])
    assert values_of(commands) == ["A", "B", "E"]
    assert [letter.value for letter in dead_of(commands)] == ["cd!"]


@pytest.mark.parametrize("one", ["to be", b"to be", {"to": "be"}])
def test_a_flat_map_that_returns_one_record_does_not_take_it_apart(one: Any) -> None:
    said = f"flat_map takes a function that returns a list of records, and it returned a {type(one).__name__}"
    with pytest.raises(RecordFailed, match=said):
        outcome(step(FlatMap(lambda _: one), "cut"), values=["a"])
    cut = step(FlatMap(lambda _: one))
    for inside, given in ((on_dues(cut), "a"), (on_turns(cut, RecordedTurns()), record("a"))):
        assert isinstance(inside.spec, FlatMap)
        with pytest.raises(TypeError, match=said):
            inside.spec.fn(given)
    with pytest.raises(TypeError, match=said):
        replayed(cut.spec, "a")


def replayed(spec: Spec, given: Any) -> Any:
    again = replaying(spec)
    assert again is not None
    return again(given)


def test_a_mended_flat_map_keeps_the_order() -> None:
    flaky = Flaky(1, {"cd"}, give=list)
    got = outcome(step(FlatMap(flaky), on_error=RETRY, retries=1), values=["ab", "cd", "e"])
    assert got == ["a", "b", "c", "d", "e"]


def test_siblings_of_a_failing_piece_are_kept() -> None:
    commands = run(FlatMap(list), step(Map(int), on_error=DEAD), batches=[["1x2", "3"]])
    assert values_of(commands) == [1, 2, 3]


@pytest.mark.parametrize(
    "aggregate",
    [
        Aggregate("sum", of=inverse),
        Aggregate("max", of=inverse),
        Reduce(lambda old, new: old + 1 / new),
        Fold(0.0, lambda old, new: old + 1 / new),
    ],
)
def test_a_failing_aggregate_leaves_the_state_as_it_was(aggregate: Any) -> None:
    values = [1, 0, 1]
    commands = run(KeyBy(lambda _: "k"), step(aggregate, on_error=DEAD), batches=[values])
    clean = run(KeyBy(lambda _: "k"), step(aggregate), batches=[[1, 1]])
    assert values_of(commands) == values_of(clean)
    assert [letter.value for letter in dead_of(commands)] == [0]


def test_a_mended_aggregate_counts_the_record_once() -> None:
    flaky = Flaky(1, {2})
    for final in (False, True):
        got = outcome(
            KeyBy(lambda _: "k"),
            step(Aggregate("sum", of=flaky, final=final), on_error=RETRY, retries=1),
            values=[1, 2, 3],
        )
        assert got[-1] == ("k", 6)
        assert len(got) == (1 if final else 3)
        flaky.num_left[2] = 1


def test_keys_of_the_batch_stay_with_their_records_when_some_fail() -> None:
    driven = machine(step(Aggregate("sum", of=inverse), on_error=DEAD))
    assert values_of(driven.on_batch(Batch([1, 0, 2], ["a", "b", "c"]))) == [("a", 1.0), ("c", 0.5)]


def test_a_filter_that_was_mended_still_filters() -> None:
    flaky = Flaky(1, {1, 2}, give=lambda x: x != 1)
    assert outcome(step(Filter(flaky), on_error=RETRY, retries=1), values=[0, 1, 2]) == [0, 2]


def test_the_records_of_a_failing_list_are_set_aside_together() -> None:
    def check(records: list[int]) -> list[int]:
        assert 3 not in records, "three"
        return records

    commands = run(step(MapBatches(check, max_records=2), on_error=DEAD, retries=1), batches=[range(6)])
    assert values_of(commands) == [0, 1, 4, 5]
    assert [letter.value for letter in dead_of(commands)] == [2, 3]
    with pytest.raises(RecordFailed, match="failed on records 3 to 4: AssertionError: three"):
        run(step(MapBatches(check, max_records=2)), batches=[range(6)])


def test_one_error_raised_for_ever_does_not_grow() -> None:
    again = ValueError("again")

    def always(record: int) -> None:
        raise again

    commands = run(step(Map(always), on_error=DEAD), batches=[range(50)])
    assert len({letter.traceback for letter in dead_of(commands)}) == 1
