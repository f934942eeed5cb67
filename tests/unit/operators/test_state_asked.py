"""What windows and joins say they keep of a key, while records come."""

from operator import add
from typing import Any

import pytest

from operators.machine import Machine, Queryable
from sage.base.batch import Batch
from sage.flow.spec import Aggregate, AsOf, Combine, Gather, JoinWindows, Over, Window, Within
from sage.flow.windows import CountWindow, Session, Sliding, Tumbling, WindowResult
from tests.unit.operators.arrange import machine

COUNT = Aggregate("count")
MEAN = Combine(list, lambda numbers, number: [*numbers, number], result=lambda numbers: sum(numbers) / len(numbers))


def take(asked: Machine, *rows: tuple[Any, float], watermark_s: float | None = None) -> None:
    """Give records of key "a", each with its time."""
    values, times_s = [value for value, _ in rows], [time_s for _, time_s in rows]
    asked.on_batch(Batch(values, ["a"] * len(rows), times_s, watermark_s))


def state(asked: Machine, key: str = "a") -> Any:
    assert isinstance(asked, Queryable)
    return asked.value_of("step-0", key)


def opened(spec: Any) -> Machine:
    made = machine(spec)
    made.open()
    assert state(made) is None
    return made


@pytest.mark.parametrize(
    ("over", "values"), [(COUNT, [2, 3, 1]), (Gather(), [[5, 7], [5, 7, 9], [9]]), (MEAN, [6, 7, 9])]
)
def test_sliding_windows_say_what_each_has_so_far(over: Over, values: list[Any]) -> None:
    asked = opened(Window(Sliding(20, 10), over))
    take(asked, (5, 1.0), (7, 2.0), (9, 11.0))
    expected = zip((-10, 0, 10), values, strict=True)
    assert state(asked) == [WindowResult("a", start, start + 20, value) for start, value in expected]
    take(asked, watermark_s=25.0)
    assert state(asked) == [WindowResult("a", 10, 30, values[-1])]
    assert state(asked, "b") is None
    take(asked, watermark_s=30.0)
    assert state(asked) is None


def test_a_window_that_lets_records_be_late_says_what_it_has_until_none_may_come() -> None:
    asked = opened(Window(Tumbling(10), COUNT, allow_late_s=5.0))
    take(asked, (1, 1.0), watermark_s=12.0)
    assert state(asked) == [WindowResult("a", 0, 10, 1)]
    take(asked, watermark_s=15.0)
    assert state(asked) is None


def test_sessions_and_counted_windows_say_what_they_have_so_far() -> None:
    sessions = opened(Window(Session(5), COUNT))
    take(sessions, (1, 1.0), (1, 4.0), (1, 20.0))
    assert state(sessions) == [WindowResult("a", 1.0, 9.0, 2), WindowResult("a", 20.0, 25.0, 1)]
    counted = opened(Window(CountWindow(2), MEAN))
    take(counted, (1, 1.0), (3, 4.0), (8, 20.0))
    assert state(counted) == [WindowResult("a", 2, 3, 8.0)]
    take(counted, (8, 20.0))
    assert state(counted) is None


def test_joins_say_which_records_wait() -> None:
    near = opened(Within(1.0, 1.0))
    take(near, ((0, "l"), 1.0), ((1, "r"), 2.5))
    assert state(near) == {"left": [(1.0, "l")], "right": [(2.5, "r")]}
    as_of = opened(AsOf(is_outer=False))
    take(as_of, ((1, "row"), 1.0), ((0, "l"), 2.0), watermark_s=2.0)
    assert state(as_of) == {"left": [(2.0, "l")], "right": [(1.0, "row")]}
    assert state(as_of, "b") is None
    windows = opened(JoinWindows(Tumbling(10)))
    take(windows, ((0, "l"), 1.0))
    assert state(windows) == [WindowResult("a", 0, 10, [(0, "l")])]


def test_what_users_functions_raise_is_told_to_whoever_asks() -> None:
    asked = opened(Window(Tumbling(10), Combine(list, add, result=lambda numbers: 1 / 0)))
    take(asked, ([1], 1.0))
    with pytest.raises(ZeroDivisionError):
        state(asked)
