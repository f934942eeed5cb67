"""The clock as a source."""

from itertools import pairwise
from typing import Any

import pytest

import sage
from sage.base.clock import ManualClock
from sage.base.errors import FlowInvalid, RecordFailed
from sage.flow.connectors.ticks import TickSource


def test_a_tick_comes_at_each_multiple_of_the_period() -> None:
    clock = ManualClock(unix_s=100.0)
    reader = TickSource(7.0, clock).open()
    assert reader.read(5) == []
    assert reader.pause_s() == 5.0
    clock.advance(5.0)
    assert reader.read(5) == [105.0]
    clock.advance(20.0)
    assert reader.read(1) == [112.0]
    assert reader.read(5) == [119.0]
    assert reader.pause_s() == 1.0
    reader.close()


def test_what_was_due_while_it_was_down_comes_where_it_goes_on() -> None:
    clock = ManualClock(unix_s=100.0)
    position = TickSource(10.0, clock).open().position()
    clock.advance(35.0)
    assert TickSource(10.0, clock).open_at(position).read(9) == [110.0, 120.0, 130.0]


def test_a_flow_has_the_times_of_its_ticks() -> None:
    seen: list[float] = []

    def three(time_s: float) -> None:
        seen.append(time_s)
        if len(seen) == 3:
            raise ValueError("enough")

    flow = sage.Flow("ticks")
    flow.ticks(0.125, timestamp=lambda time_s: time_s).for_each(three)
    with pytest.raises(RecordFailed, match="enough"):
        flow.run(timeout_s=60, progress=False)
    assert [second - first for first, second in pairwise(seen)] == [0.125, 0.125]


@pytest.mark.parametrize("period_s", [0, -1.0, float("inf"), float("nan")])
def test_a_period_is_above_zero(period_s: Any) -> None:
    with pytest.raises(FlowInvalid, match="a period is a number of seconds above 0"):
        sage.Flow("f").ticks(period_s)
