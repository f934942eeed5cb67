"""Why several instances cannot read a source. Knows no source: those that cannot say so themselves."""

from typing import Protocol, runtime_checkable

from sage.flow.check_numbers import Fault
from sage.flow.ports import PartitionedSource

ELSEWHERE = "Put with_parallelism on the step after it."


@runtime_checkable
class Undealt(Protocol):
    """A source that knows why it cannot be dealt."""

    def undealt(self) -> Fault | None:
        """Return why only one instance can read it; None where several can."""
        ...


def fault_of_dealing(source: object) -> Fault | None:
    """Return why several instances cannot read `source`; None where they can."""
    if isinstance(source, Undealt):
        return source.undealt()
    if isinstance(source, PartitionedSource):
        return None
    what = f"{type(source).__name__} does not say how several instances can read it"
    return Fault(what, "Give it partitions() and open_partition(name, position): see sage.flow.ports.")
