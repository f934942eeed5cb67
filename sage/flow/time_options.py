"""What a source can be told of time, as users write it: event time, and when records are due. Knows no source."""

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypedDict, TypeVar

from sage.flow.ports import PartitionedSource, Source
from sage.flow.spec import AssignTimestamps, Read
from sage.flow.where import refusal

T = TypeVar("T")


class ClockOptions(TypedDict, Generic[T], total=False):
    """What can be said beside what the time of a record is.

    | keyword | what |
    | --- | --- |
    | max_out_of_order_s | by how much a record may come after one that is later; windows wait that much longer |
    | partition | which part of the stream a record is of, where parts advance on their own: the slowest counts |
    | idle_after_s | a stream or a partition that gives nothing for so long is waited for no more until it does |
    """

    max_out_of_order_s: float
    partition: Callable[[T], Hashable] | None
    idle_after_s: float | None


class TimeOptions(ClockOptions[T], Generic[T], total=False):
    """The keywords that every source takes; `timestamp`: the event time of a record in seconds since the epoch.

    `due_in_s`: how long after it was read a record is due at the end of the flow. Among requests of a class that wait
    for an engine, those come first whose records have the least time to spare; a record that is late does not fail.
    """

    timestamp: Callable[[T], float] | None
    due_in_s: float | None


def read_with(source: Source[Any] | PartitionedSource[Any], told: TimeOptions[Any]) -> Read:
    """Return how `source` is read; raises FlowInvalid."""
    clock = {name: value for name, value in told.items() if name != "due_in_s"}
    return Read(source, event_time(**clock), told.get("due_in_s"))  # type: ignore[arg-type]  # the rest of its keywords


def event_time(
    timestamp: Callable[[Any], float] | None = None,
    max_out_of_order_s: float | None = None,
    partition: Callable[[Any], Hashable] | None = None,
    idle_after_s: float | None = None,
) -> AssignTimestamps | None:
    """Return what a source is told of event time; None for a stream without. Raises FlowInvalid."""
    if timestamp is None:
        told = {"max_out_of_order_s": max_out_of_order_s, "partition": partition, "idle_after_s": idle_after_s}
        for name, value in told.items():
            if value is not None:
                what = f"{name} is about the time of records, but nothing says what their time is"
                raise refusal(what, "Give timestamp=, a function of the record.", param=name)
        return None
    return AssignTimestamps(timestamp, max_out_of_order_s or 0.0, partition, idle_after_s)
