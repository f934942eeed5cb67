"""What a source can be told of event time, as users write it. Knows no source."""

from collections.abc import Callable
from typing import Any, Generic, TypedDict, TypeVar

from sage.flow.spec import AssignTimestamps
from sage.flow.where import refusal

T = TypeVar("T")


class TimeOptions(TypedDict, Generic[T], total=False):
    """The keywords that every source takes.

    `timestamp`: the event time of a record in seconds since the epoch. `max_out_of_order_s`: by how much a record may
    come after one that is later; windows wait that much longer.
    """

    timestamp: Callable[[T], float] | None
    max_out_of_order_s: float


def event_time(
    timestamp: Callable[[Any], float] | None = None, max_out_of_order_s: float | None = None
) -> AssignTimestamps | None:
    """Return what a source is told of event time; None for a stream without. Raises FlowInvalid."""
    if timestamp is None:
        if max_out_of_order_s is not None:
            what = "max_out_of_order_s says how late records may come, but nothing says what their time is"
            raise refusal(what, "Give timestamp=, a function of the record.", param="max_out_of_order_s")
        return None
    return AssignTimestamps(timestamp, max_out_of_order_s or 0.0)
