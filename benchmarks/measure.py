"""Times several ways of doing one thing against each other, in turns. Knows nothing of what they do."""

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from sage.base.clock import Clock

Run = Callable[[], object]
"""What is timed; returns what it came to, or Timed where that was taken elsewhere."""

Prepare = Callable[[], Run]
"""Makes ready what is timed, outside of the time taken."""


@dataclass(frozen=True, slots=True)
class Timed:
    """What a run in another process came to, in seconds of its own clock."""

    seconds: float
    outcome: object


def in_turns(
    ways: Mapping[str, Prepare], *, num_rounds: int, clock: Clock, check: Callable[[str, object], None]
) -> dict[str, list[float]]:
    """Time each way once a round, and return its seconds, a round each. Every outcome goes to `check`.

    Rounds alternate the order of the ways, so that a machine that gets slower or faster does so for all of them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(num_rounds):
        for name in list(ways) if number % 2 == 0 else reversed(list(ways)):
            run = ways[name]()
            gc.collect()
            began_s = clock.monotonic_s()
            outcome = run()
            took_s = clock.monotonic_s() - began_s
            if isinstance(outcome, Timed):
                took_s, outcome = outcome.seconds, outcome.outcome
            seconds[name].append(took_s)
            check(name, outcome)
    return seconds


def median_ratio(limit_s: Sequence[float], own_s: Sequence[float]) -> float:
    """Return how fast `own` is against `limit`, 1 where both take as long: the median over the rounds.

    >>> median_ratio([1.0, 1.0, 2.0], [2.0, 2.0, 2.0])
    0.5
    """
    return median(limit / own for limit, own in zip(limit_s, own_s, strict=True))


def centiles(seconds: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 99th centile; zeros where there is none.

    >>> centiles([1.0]), centiles([])
    ((1.0, 1.0), (0.0, 0.0))
    """
    if len(seconds) < 2:
        return (seconds[0], seconds[0]) if seconds else (0.0, 0.0)
    found = quantiles(seconds, n=100, method="inclusive")
    return found[49], found[98]
