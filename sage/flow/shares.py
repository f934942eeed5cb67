"""Which sinks several instances can write, and what each of them writes. Knows no sink."""

from collections.abc import Collection
from typing import Any, Protocol, runtime_checkable

from sage.flow.check_numbers import Fault
from sage.flow.file_shares import FileShares
from sage.flow.ports import SharedSink, Sink


@runtime_checkable
class Unshared(Protocol):
    """A sink that knows whether several instances can write it."""

    def unshared(self) -> Fault | None:
        """Return why only one instance can; None where several can."""
        ...


def share_of(sink: Sink[Any], number: int, num_shares: int) -> Sink[Any]:
    """Return what one instance writes of `sink`; a sink that has no shares is whole."""
    return sink.share(number, num_shares) if isinstance(sink, SharedSink) else sink


def check_beside(share: Sink[Any], own: int, kept: Collection[int]) -> None:
    """Raise SinkUnwritable where a run of more instances left what `own`, which has `kept`, knows nothing of."""
    beside = getattr(share, "beside", None)
    if isinstance(beside, FileShares):
        beside.check(own, kept)


def fault_of_sharing(sink: object) -> Fault | None:
    """Return why several instances cannot write `sink`; None where they can."""
    if not isinstance(sink, SharedSink):
        what = f"{type(sink).__name__} does not say what each of several instances writes"
        return Fault(what, "Give it share(number, num_shares): see SharedSink in sage.flow.ports.")
    return sink.unshared() if isinstance(sink, Unshared) else None
