"""The workloads as Pathway has them, as its own documents would write them. Imports nothing of SAGE.

Of running aggregates Pathway tells the latest of each tick, not every update, so W2 is not written for it.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import pathway as pw
from pathway.internals.parse_graph import G

from benchmarks.integers import grow, halve, is_even
from benchmarks.readings import MAX_OUT_OF_ORDER_S, WINDOW_S, readings
from benchmarks.rivals.rival_wanted import Form, RivalWanted

_TICK_MS = 200

Rows = Iterable[Mapping[str, Any]]


def prepare(asked: RivalWanted) -> Callable[[], Form] | None:
    """Return what makes a flow ready; None where the workload is not known here. A tick is Pathway's batch."""
    num = asked.num_records or 0
    match asked.workload:
        case "W1":
            return partial(_stateless, [{"x": number} for number in range(num)])
        case "W3":
            rows = [{"t": time_s, "k": sensor, "v": value} for time_s, sensor, value in readings(num, seed=asked.seed)]
            return partial(_windowed_sum, rows)
        case _:
            return None


class _Integer(pw.Schema):
    x: int


class _Reading(pw.Schema):
    t: float
    k: int
    v: int


class _Rows(pw.io.python.ConnectorSubject):
    """Rows of a list, one a call, as connectors in Python give them."""

    def __init__(self, rows: Rows) -> None:
        super().__init__()
        self._rows = rows

    def run(self) -> None:
        for row in self._rows:
            self.next(**row)


def _table(rows: Rows, schema: type[pw.Schema]) -> Any:
    G.clear()
    return pw.io.python.read(_Rows(rows), schema=schema, autocommit_duration_ms=_TICK_MS)


def _run() -> None:
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)


def _stateless(rows: Rows) -> Form:
    totals = [0, 0]

    def take(key: object, row: Mapping[str, int], time: int, is_addition: bool) -> None:
        if is_addition:
            totals[:] = row["num"], row["total"]

    grown = _table(rows, _Integer).select(x=pw.apply_with_type(grow, int, pw.this.x))
    halved = grown.filter(pw.apply_with_type(is_even, bool, pw.this.x)).select(
        x=pw.apply_with_type(halve, int, pw.this.x)
    )
    pw.io.subscribe(halved.reduce(num=pw.reducers.count(), total=pw.reducers.sum(pw.this.x)), take)
    return _run, lambda: tuple(totals)


def _windowed_sum(rows: Rows) -> Form:
    sums: dict[tuple[int, float], int] = {}

    def take(key: object, row: Mapping[str, Any], time: int, is_addition: bool) -> None:
        if is_addition:
            sums[row["sensor"], row["start"]] = row["total"]

    windows = _table(rows, _Reading).windowby(
        pw.this.t,
        window=pw.temporal.tumbling(duration=WINDOW_S, origin=0.0),
        instance=pw.this.k,
        behavior=pw.temporal.common_behavior(delay=0.0, cutoff=MAX_OUT_OF_ORDER_S, keep_results=True),
    )
    summed = windows.reduce(
        sensor=pw.this._pw_instance, start=pw.this._pw_window_start, total=pw.reducers.sum(pw.this.v)
    )
    pw.io.subscribe(summed, take)
    return _run, lambda: sums
