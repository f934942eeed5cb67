"""Ways of doing one thing, timed in turns."""

from collections.abc import Callable

import pytest

from benchmarks.measure import in_turns, median_ratio
from sage.base.clock import ManualClock


def test_ways_take_turns_and_only_the_run_itself_is_timed() -> None:
    clock = ManualClock()
    order: list[str] = []

    def way(name: str, takes_s: float) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            clock.advance(100.0)

            def run() -> object:
                clock.advance(takes_s)
                order.append(name)
                return name

            return run

        return prepare

    outcomes: list[tuple[str, object]] = []
    seconds = in_turns(
        {"fast": way("fast", 1.0), "slow": way("slow", 4.0)},
        num_rounds=2,
        clock=clock,
        check=lambda name, outcome: outcomes.append((name, outcome)),
    )
    assert seconds == {"fast": [1.0, 1.0], "slow": [4.0, 4.0]}
    assert order == ["fast", "slow", "slow", "fast"]
    assert outcomes == [(name, name) for name in order]


def test_a_ratio_is_the_median_over_rounds_so_that_one_bad_round_says_nothing() -> None:
    assert median_ratio([1.0, 1.0, 1.0], [2.0, 2.0, 50.0]) == 0.5


def test_rounds_of_different_number_are_refused() -> None:
    with pytest.raises(ValueError, match="longer"):
        median_ratio([1.0], [1.0, 2.0])
