"""Whether windows can be as they are told: lengths of time, and numbers of records. Knows no step."""

from collections.abc import Iterator

from sage.flow.check_numbers import Fault, counts, finite, required
from sage.flow.windows import CountWindow, Session, Shape, Sliding, Tumbling

MAX_WINDOWS = 100_000
"""Sliding ones that a record may be in, each of which gives a result of its own."""


def faults_of_shape(shape: Shape) -> Iterator[Fault]:
    match shape:
        case Tumbling(size_s=size_s):
            yield from required(size_s=size_s)
            yield from finite(size_s=size_s)
        case Sliding(size_s=size_s, every_s=every_s):
            yield from required(size_s=size_s, every_s=every_s)
            yield from finite(size_s=size_s, every_s=every_s)
            if every_s > size_s:
                what = f"a window of {size_s} s every {every_s} s would leave records out"
                yield Fault(what, "Make every_s at most size_s.", "every_s")
            if size_s > MAX_WINDOWS * every_s:
                what = f"a record would be in more than {MAX_WINDOWS:,} windows: one of {size_s} s every {every_s} s"
                yield Fault(what, "Make every_s longer.", "every_s")
        case Session(gap_s=gap_s):
            yield from required(gap_s=gap_s)
            yield from finite(gap_s=gap_s)
        case CountWindow(num_records=num_records):
            yield from required(num_records=num_records)
            yield from counts(num_records=num_records)
