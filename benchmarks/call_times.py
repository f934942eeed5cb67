"""How long the calls of W5 take. Imports nothing of SAGE: rivals read it too."""

from collections.abc import Sequence
from enum import StrEnum
from random import Random

LATENCY_S = 0.01
MAX_LATENCY_S = 0.1
NUM_IN_FLIGHT = 64


class Latency(StrEnum):
    """How long the calls take: all as long, or drawn from an exponential distribution, cut at ten times the mean."""

    CONSTANT = "constant"
    EXPONENTIAL = "exponential"


def call_times(num_records: int, latency: Latency, *, seed: int) -> Sequence[float]:
    """Return the seconds of each call: 10 ms, or 10 ms on the average."""
    rng = Random(seed)
    if latency is Latency.CONSTANT:
        return [LATENCY_S] * num_records
    return [min(MAX_LATENCY_S, rng.expovariate(1 / LATENCY_S)) for _ in range(num_records)]
