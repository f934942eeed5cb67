"""What a rival that has records go from one process to another is asked for. Imports nothing of SAGE."""

from collections.abc import Callable
from functools import partial

from benchmarks.rivals.rival_wanted import Form, RivalWanted
from benchmarks.wire_wanted import WireWorkload


def form_across(
    asked: RivalWanted, wire: Callable[[RivalWanted, WireWorkload], Form], latency: Callable[[RivalWanted], Form]
) -> Callable[[], Form] | None:
    """Return what makes a run ready, by `wire` or by `latency`; None where the workload is of neither."""
    kind, _, what = asked.workload.partition("-")
    match kind, what:
        case "wire", _:
            return partial(wire, asked, WireWorkload(what))
        case "latency", "across":
            return partial(latency, asked)
        case _:
            return None
