"""How much slower a server was during each part of a trace than when it was looked at. Pure; asks nobody.

Looks come one upon the other; requests of a trace come after rests, in a machine that is slower in some minutes than
in others. A part's pace is the factor by which all of a simulation must take longer for half of its requests to take
longer than they did, and half of them less. What a part is foretold by is the pace of the parts next to it, never its
own: each part is judged by what was seen without it.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from benchmarks.calibrate_fit import Fitted
from benchmarks.calibrate_parts import TracePart, simulated_parts
from benchmarks.replay_prompts import TokenRate

_STEP = 1.03
_PACES = tuple(_STEP**power for power in range(-30, 48))  # 0.41 to 4.0


def paces_of(name: str, parts: Sequence[TracePart], fitted: Fitted, rate: TokenRate) -> list[float | None]:
    """Return each part's own pace; None of one of which nothing was answered."""
    off = [_off(name, parts, pace, fitted, rate) for pace in _PACES]
    return [_least(list(of_part)) for of_part in zip(*off, strict=True)]


def foretold(paces: Sequence[float | None], otherwise: Sequence[float]) -> list[float]:
    """Return for each part the pace of those next to it; of one that has none, what `otherwise` says.

    >>> foretold([1.0, 9.0, 4.0], [5.0, 5.0, 5.0]), foretold([2.0], [1.0]), foretold([None, 3.0, None], [1.0] * 3)
    ([9.0, 2.0, 9.0], [1.0], [3.0, 1.0, 3.0])
    """
    found: list[float] = []
    for number, other in enumerate(otherwise):
        beside = [pace for pace in (*paces[max(0, number - 1) : number], *paces[number + 1 : number + 2]) if pace]
        found.append(math.prod(beside) ** (1 / len(beside)) if beside else other)
    return found


def _off(name: str, parts: Sequence[TracePart], pace: float, fitted: Fitted, rate: TokenRate) -> list[float | None]:
    """Return the median over each part's requests of how many times as long they take simulated, as a logarithm."""
    paced = [replace(part, slowness=pace) for part in parts]
    found: list[float | None] = []
    for part, outcomes in zip(paced, simulated_parts(name, paced, fitted, rate), strict=True):
        logs: list[float] = []
        for call, outcome in zip(part.answered, outcomes, strict=True):
            assert call.end_s is not None, call
            assert outcome.end_s is not None, outcome
            seen_s = call.end_s - call.arrival.at_s
            foretold_s = outcome.end_s - call.arrival.at_s + fitted.overhead_ms / 1e3
            logs.append(math.log(foretold_s / max(1e-9, seen_s)))
        found.append(median(logs) if logs else None)
    return found


def _least(off: list[float | None]) -> float | None:
    """Return the pace by which a part is off least."""
    known = [(abs(each), pace) for each, pace in zip(off, _PACES, strict=True) if each is not None]
    return min(known)[1] if known else None
