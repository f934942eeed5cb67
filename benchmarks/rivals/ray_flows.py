"""The workloads as Ray Data has them, as its own documents would write them. Imports nothing of SAGE.

Ray Data keeps no state by key over an endless input, so of the streams only W1 is written for it. An actor of Ray's
takes batches from another process.
"""

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray.data

from benchmarks.integers import grow, halve, is_even
from benchmarks.rivals.rival_wanted import NUM_AHEAD, NUM_WARM_UP, Form, RivalWanted
from benchmarks.wire_fields import PlainEvent, Tally, records_with
from benchmarks.wire_wanted import WireWorkload

Row = dict[str, Any]


def prepare(asked: RivalWanted) -> Callable[[], Form] | None:
    """Return what makes a flow ready; None where the workload is not known here. Blocks are Ray's own."""
    kind, _, what = asked.workload.partition("-")
    match kind:
        case "W1" if not what:
            return partial(_stateless, asked.num_records or 0)
        case "wire":
            return partial(_wire, asked, WireWorkload(what))
        case _:
            return None


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


def _ended(totals: Iterable[int]) -> tuple[int, ...]:
    ray.shutdown()
    return tuple(totals)


def _wire(asked: RivalWanted, workload: WireWorkload) -> Form:
    """A call of an actor a batch, at most NUM_AHEAD not answered."""
    root = str(Path(__file__).resolve().parents[2])  # its processes read the same `benchmarks`
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        logging_level="error",
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": root}},
    )
    records = records_with(PlainEvent, workload, asked.batch_records)
    actor = ray.remote(Tally).remote(records)
    found: list[Any] = []

    def send(num_batches: int) -> Any:
        open_calls: deque[Any] = deque()
        for _ in range(num_batches):
            if len(open_calls) == NUM_AHEAD:
                ray.get(open_calls.popleft())
            open_calls.append(actor.take.remote(records))
        return ray.get(actor.end.remote())

    send(NUM_WARM_UP)
    return lambda: found.append(send((asked.num_records or 0) // asked.batch_records)), lambda: _ended(found[-1])
