"""What a rehearsal of a flow offers: a run in virtual time, moved by whoever holds it. Knows no runner."""

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from sage.flow.graph import Graph
from sage.flow.runner import DeadLetterRecord, JobMetrics, JobResult

Model = Callable[[str], str | Sequence[float]]
"""What stands for a model: makes the answer of a prompt, or the vector of a text. What it raises fails the request."""


class Rehearsal(Protocol):
    """A run of a flow without threads: time moves when it is told to; what happens in between is drawn from a seed.

    Every method that lets the flow work raises what makes it fail: RecordFailed, SourceUnreadable, ... Then it is over.
    """

    @property
    def now_s(self) -> float:
        """Seconds of virtual time since it began."""
        ...

    @property
    def is_over(self) -> bool:
        """Every step has ended, or the flow has failed."""
        ...

    def settle(self) -> None:
        """Do all that happens without time going on.

        Raises JobTimeout where there is no end of it: a source that always has more.
        """
        ...

    def advance(self, seconds: float) -> None:
        """Let so much time go on: all that happens meanwhile happens when it is due."""
        ...

    def finish(self, within_s: float = 86_400.0) -> JobResult:
        """Go on to the end of the flow.

        Raises JobTimeout where it does not come within so many seconds of virtual time, or by no time at all.
        """
        ...

    def checkpoint(self) -> None:
        """Take a checkpoint, and go on. Raises FlowInvalid where the rehearsal keeps none."""
        ...

    def crash(self) -> None:
        """Lose all that the flow holds, as by kill -9, and go on from the newest checkpoint; without one, anew."""
        ...

    def dead_letters(self) -> list[DeadLetterRecord]: ...

    def metrics(self) -> JobMetrics: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class StartRehearsal(Protocol):
    """What the entry point `rehearse` of the group `sage.testing` names."""

    def __call__(
        self, graph: Graph, *, seed: int, models: Mapping[str, Model], checkpoints: bool, batch_records: int
    ) -> Rehearsal: ...
