"""The protocols a user may implement: sources and sinks. Knows no implementation."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)


class SourceReader(Protocol[T_co]):
    """One reading of a source; used by one thread."""

    def read(self, max_records: int) -> Sequence[T_co] | None:
        """Return 1 to `max_records` records, waiting for the first if need be; None at the end."""
        ...

    def close(self) -> None:
        """Let go of files and sockets; called once, also after a failure."""
        ...


class Source(Protocol[T_co]):
    """Where records come from: a value; opening it starts a reading."""

    def open(self) -> SourceReader[T_co]:
        """Start a reading; raises SourceUnreadable."""
        ...


class SinkWriter(Protocol[T_contra]):
    """One writing of a sink; used by one thread."""

    def write(self, records: Sequence[T_contra]) -> None:
        """Take `records`, in order; raises SinkUnwritable."""
        ...

    def close(self, *, complete: bool) -> None:
        """Finish: called once; `complete` is False where the job failed or was cancelled."""
        ...


class Sink(Protocol[T_contra]):
    """Where records end: a value; opening it starts a writing."""

    def open(self) -> SinkWriter[T_contra]:
        """Start a writing; raises SinkUnwritable."""
        ...
