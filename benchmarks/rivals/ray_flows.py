"""The workloads as Ray Data has them, as its own documents would write them. Imports nothing of SAGE.

Ray Data keeps no state by key over an endless input, so only W1 is written for it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import ray
import ray.data

from benchmarks.integers import grow, halve, is_even
from benchmarks.rivals.rival_wanted import Form, RivalWanted

Row = dict[str, Any]


def prepare(asked: RivalWanted) -> Callable[[], Form] | None:
    """Return what makes a flow ready; None where the workload is not known here. Blocks are Ray's own."""
    return partial(_stateless, asked.num_records or 0) if asked.workload == "W1" else None


def _grown(row: Row) -> Row:
    return {"id": grow(row["id"])}


def _is_even(row: Row) -> bool:
    return is_even(row["id"])


def _halved(row: Row) -> Row:
    return {"id": halve(row["id"])}


def _stateless(num_records: int) -> Form:
    """Ray is started before time is taken, and ended after."""
    ray.init(include_dashboard=False, logging_level="error", log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    totals: list[int] = []

    def run() -> None:
        rows = ray.data.range(num_records).map(_grown).filter(_is_even).map(_halved)
        found = rows.aggregate(ray.data.aggregate.Count(), ray.data.aggregate.Sum("id"))
        totals.extend((found["count()"], found["sum(id)"]))

    return run, partial(_ended, totals)


def _ended(totals: list[int]) -> tuple[int, ...]:
    ray.shutdown()
    return tuple(totals)
