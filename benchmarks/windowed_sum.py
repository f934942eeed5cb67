"""W3: sums by windows of event time over records out of order, as a flow and as the plain loop that is its limit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import sage
from benchmarks.readings import (
    DISORDER_S,
    MAX_OUT_OF_ORDER_S,
    NUM_SENSORS,
    WINDOW_S,
    Reading,
    sensor_of,
    time_of,
    value_of,
)

Sums = dict[tuple[int, float], int]
"""The sum of each sensor and start of window."""


@dataclass(slots=True)
class _Sums:
    """Keeps what windows give, a batch a call."""

    sums: Sums = field(default_factory=dict)

    def __call__(self, batch: Sequence["sage.WindowResult[int, int]"]) -> list[int]:
        self.sums.update({(result.key, result.start): result.value for result in batch})
        return []


@dataclass(frozen=True, slots=True)
class WindowedSum:
    """W3: the sum of each sensor in each window of 10 s, given once the watermark has passed it."""

    readings: Sequence[Reading]
    name: str = "W3"

    @property
    def num_records(self) -> int:
        return len(self.readings)

    @property
    def data(self) -> str:
        return f"{NUM_SENSORS} sensors, {DISORDER_S} s of disorder"

    def plain(self) -> object:
        sums: Sums = {}
        state: dict[tuple[float, int], int] = {}
        latest_s = -1.0
        next_end_s = WINDOW_S
        for reading in self.readings:
            time_s = time_of(reading)
            at = time_s // WINDOW_S, sensor_of(reading)
            if (at[0] + 1) * WINDOW_S <= latest_s - MAX_OUT_OF_ORDER_S:
                continue
            state[at] = state.get(at, 0) + value_of(reading)
            if time_s > latest_s:
                latest_s = time_s
                if latest_s - MAX_OUT_OF_ORDER_S >= next_end_s:
                    for window, sensor in [at for at in state if (at[0] + 1) * WINDOW_S <= next_end_s]:
                        sums[sensor, window * WINDOW_S] = state.pop((window, sensor))
                    next_end_s += WINDOW_S
        sums.update({(sensor, window * WINDOW_S): total for (window, sensor), total in state.items()})
        return sums

    def flow(self) -> tuple[sage.Flow, Callable[[], object]]:
        sums = _Sums()
        flow = sage.Flow("w3-windowed-sum")
        stream = flow.from_collection(self.readings, timestamp=time_of, max_out_of_order_s=MAX_OUT_OF_ORDER_S)
        stream.key_by(sensor_of).window(sage.Tumbling(WINDOW_S)).sum(value_of).map_batches(sums).collect()
        return flow, lambda: sums.sums

    def expected(self) -> object:
        sums: Sums = {}
        for time_s, sensor, value in sorted(self.readings):
            window = sensor, time_s - time_s % WINDOW_S
            sums[window] = sums.get(window, 0) + value
        return sums
