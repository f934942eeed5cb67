"""The beginning of a loop: what goes in, what comes out, and what is accounted for."""

from math import inf
from typing import Any

import pytest

from operators.iterating import IterateMachine
from operators.machine import Command, Emit, LoopMachine
from operators.rounds import Rounds
from sage.base.batch import Batch
from sage.base.errors import InternalError, RecordFailed
from sage.flow.graph import OnError
from sage.flow.iterate import INSIDE, Iterate
from tests.unit.operators.arrange import dead_of, step

INTO = ("step", INSIDE)
REST = ("step", "rest")


def loop(on_error: OnError = OnError.FAIL, **options: Any) -> IterateMachine:
    spec = Iterate(lambda n: 10 // n == 1, **{"max_rounds": 3, **options})
    return IterateMachine(step(spec, on_error=on_error), spec)


def batch(commands: list[Command], side: Any = None) -> Batch:
    """Return the one batch that goes to a side."""
    found = [command.batch for command in commands if isinstance(command, Emit) and command.side == side]
    assert len(found) <= 1
    return found[0] if found else Batch(())


def test_a_record_goes_round_until_it_is_done() -> None:
    driven = loop()
    into = batch(driven.on_batch(Batch([30])), INTO)
    assert (into.values, into.timestamps_s, into.watermark_s) == ([30], [0.0], 1.0)
    into = batch(driven.on_back(Batch([20], None, [0.0], 1.0)), INTO)
    assert (into.values, into.timestamps_s, into.watermark_s) == ([20], [1.0], 2.0)
    left = driven.on_back(Batch([10], None, [1.0], None))
    assert batch(left).values == [10]
    assert not driven.is_done()
    assert driven.on_back(Batch((), watermark_s=2.0)) == []
    assert driven.is_done()
    assert (driven.counts.records_in, driven.counts.records_out) == (1, 1)


def test_a_record_that_has_gone_all_rounds_leaves_as_it_is() -> None:
    for tag, side in ((None, None), ("rest", REST)):
        driven = loop(max_rounds=1, unfinished_to=tag)
        driven.on_batch(Batch([40]))
        assert batch(driven.on_back(Batch([30], None, [0.0], 1.0)), side).values == [30]
        assert driven.is_done()


def test_at_most_so_many_records_are_inside_and_the_others_wait() -> None:
    driven = loop(max_in_flight=2)
    assert driven.room() == 2
    assert batch(driven.on_batch(Batch([20, 30, 40])), INTO).values == [20, 30]
    assert driven.room() == 0
    into = batch(driven.on_back(Batch([10], None, [0.0], 1.0)), INTO)
    assert (into.values, into.timestamps_s) == ([40], [2.0])
    driven.on_back(Batch((), watermark_s=2.0))  # what was 30 did not come out
    assert driven.room() == 1


def test_what_a_body_made_of_one_record_goes_the_rounds_of_that_one() -> None:
    driven = loop(max_rounds=2, unfinished_to="rest")
    driven.on_batch(Batch([99]))
    into = batch(driven.on_back(Batch([40, 30], None, [0.0, 0.0], 1.0)), INTO)
    assert into.timestamps_s == [1.0, 2.0]
    assert batch(driven.on_back(Batch([20, 21, 22], None, [1.0, 2.0, 2.0], 3.0)), REST).values == [20, 21, 22]
    assert driven.is_done()


def test_no_watermark_leaves_before_the_records_that_are_inside() -> None:
    driven = loop(unfinished_to="rest")
    commands = driven.on_batch(Batch([30, 40], None, [3.0, 4.0], 3.5))
    assert batch(commands).watermark_s == 3.0
    assert batch(driven.on_batch(Batch((), watermark_s=inf))).watermark_s is None
    left = driven.on_back(Batch([10, 20], None, [0.0, 1.0], None))
    assert (batch(left).values, batch(left).timestamps_s, batch(left).watermark_s) == ([10], [3.0], None)
    left = driven.on_back(Batch((), watermark_s=2.0))
    assert (batch(left).watermark_s, batch(left, REST).watermark_s) == (4.0, 4.0)
    left = driven.on_back(Batch([10], None, [2.0], 3.0))
    assert (batch(left).timestamps_s, batch(left).watermark_s) == ([4.0], inf)


def test_records_that_wait_hold_the_watermark_back_too() -> None:
    driven = loop(max_in_flight=1)
    assert batch(driven.on_batch(Batch([30, 40], None, [5.0, 1.0], 9.0))).watermark_s == 1.0


def test_the_end_of_event_time_waits_for_records_that_have_none() -> None:
    driven = loop()
    driven.on_batch(Batch([30]))
    assert driven.on_batch(Batch((), watermark_s=inf)) == []
    assert batch(driven.on_back(Batch([10], None, [0.0], 1.0))).watermark_s == inf


def test_a_record_on_which_until_raises_is_set_aside_or_fails_the_job() -> None:
    driven = loop(OnError.DEAD_LETTER)
    driven.on_batch(Batch([1, 30]))
    commands = driven.on_back(Batch([0, 10], None, [0.0, 1.0], 2.0))
    assert [letter.value for letter in dead_of(commands)] == [0]
    assert batch(commands).values == [10]
    failing = loop()
    failing.on_batch(Batch([1]))
    with pytest.raises(RecordFailed, match="ZeroDivisionError"):
        failing.on_back(Batch([0], None, [0.0], 1.0))


def test_what_comes_back_while_it_holds_belongs_to_the_snapshot_and_goes_on_after_it() -> None:
    driven = loop(max_in_flight=2)
    driven.on_batch(Batch([20, 30, 40], None, [2.0, 3.0, 4.0]))
    driven.hold()
    assert driven.on_back(Batch([10], None, [0.0], 1.0)) == []
    saved = driven.snapshot()
    again = loop(max_in_flight=2)
    for commands in (driven.release(), again.restore(saved)):
        assert [each.batch.values for each in commands if isinstance(each, Emit) and each.batch.values] == [[40], [10]]
    for each in (driven, again):
        assert batch(each.on_back(Batch([5, 4], None, [1.0, 2.0], 3.0)), INTO).values == [5, 4]
        assert each.room() == 0


def test_a_body_that_goes_on_hears_again_how_far_its_records_are() -> None:
    driven = loop()
    driven.on_batch(Batch([20, 30]))
    again = loop()
    assert batch(again.restore(driven.snapshot()), INTO).watermark_s == 2.0
    assert not again.is_done()
    again.on_back(Batch((), watermark_s=2.0))
    assert again.is_done()
    empty = loop()
    assert empty.restore(again.snapshot()) == []
    assert empty.is_done()


def test_what_was_accounted_for_does_not_come_out_again() -> None:
    rounds = Rounds()
    rounds.send([0, 0], [None, None])
    rounds.passed(1.0)
    for number in (0.0, 2.0):
        with pytest.raises(InternalError):
            rounds.leave(number)
    assert rounds.leave(1.0).rounds == 1
    assert (len(rounds), rounds.num_out) == (1, 0)


def test_a_loop_is_known_as_one() -> None:
    assert isinstance(loop(), LoopMachine)
