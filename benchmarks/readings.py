"""The readings of W3, out of order, and the user functions over them. Imports nothing of SAGE: rivals read it too."""

from random import Random
from typing import NamedTuple

NUM_SENSORS = 100
WINDOW_S = 10.0
DISORDER_S = 0.5
MAX_OUT_OF_ORDER_S = 1.0


class Reading(NamedTuple):
    time_s: float
    sensor: int
    value: int


def time_of(reading: Reading) -> float:
    return reading[0]


def sensor_of(reading: Reading) -> int:
    return reading[1]


def value_of(reading: Reading) -> int:
    return reading[2]


def readings(num_records: int, *, seed: int) -> list[Reading]:
    """Return one reading a millisecond, each up to DISORDER_S behind its turn."""
    rng = Random(seed)
    made = [Reading(at / 1000, rng.randrange(NUM_SENSORS), rng.randrange(1000)) for at in range(num_records)]
    turns = [reading.time_s + rng.random() * DISORDER_S for reading in made]
    return [made[at] for at in sorted(range(num_records), key=turns.__getitem__)]
