"""A sink as a stage: what one instance writes of it, and of shares that others left. Knows nothing of files."""

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, cast

from operators.failure import Failures, Numbers
from operators.loop import Columns
from operators.state import Prefix, StepState
from sage.base.errors import InternalError, SageError, SinkUnwritable
from sage.flow.graph import OnError, Step
from sage.flow.ports import ResumableSink, ResumableWriter, Sink, SinkWriter, Written
from sage.flow.shares import check_beside, share_of


class Writing:
    """Ends the stream in a sink; gives what it wrote, to be counted."""

    def __init__(self, step: Step, sink: Sink[Any], failures: Failures, instance: int = 0) -> None:
        self._step = step
        self._sink = sink
        self._failures = failures
        self._instance = instance
        self._num_read = 0
        self._writer: SinkWriter[Any] | None = None
        self._shares: dict[int, SinkWriter[Any]] = {}  # its own by number, and those that it closes for others

    @property
    def is_open(self) -> bool:
        return self._writer is not None

    def open(self) -> None:
        """Raises SinkUnwritable."""
        self._writer = self._shares[self._instance] = self._share(self._instance).open()

    def snapshot(self) -> StepState:
        """Return how far the sink is, where it can be gone on with; raises SinkUnwritable."""
        if self._writer is None or not isinstance(self._share(self._instance), ResumableSink):
            return StepState()
        written = {number: _written(writer) for number, writer in self._shares.items()}
        contents = written[self._instance].contents
        return StepState(
            grown=Prefix(contents, len(contents)),
            heard=[(number, each.position) for number, each in written.items()],
            settle=_all_of([each.settle for each in written.values() if each.settle is not None]),
            commit=_all_of([each.commit for each in written.values() if each.commit is not None]),
        )

    def restore(self, state: StepState) -> None:
        """Go on with the sink, and with what instances that are no more have written of it; raises SinkUnwritable.

        What was heard may be of all instances: a share goes on at the one of its number, or where it is dealt to.
        """
        own, num = self._instance, self._step.parallelism
        kept = {number: position for number, position in state.heard if number % num == own}
        if state.fixed is not None:
            kept[own] = state.fixed  # as it was kept until 2026-11-24, of one instance
        check_beside(self._share(own), own, kept)
        for number, position in sorted(kept.items(), key=_number_of):
            self._resume(number, position, state.grown if number == own else ())
        if own not in kept and len(state.grown):
            self._resume(own, None, state.grown)
        self._writer = self._shares.get(own)
        if self._writer is None:
            self.open()

    def _resume(self, number: int, position: Any, contents: Sequence[Any]) -> None:
        share = self._share(number)
        if isinstance(share, ResumableSink):
            self._shares[number] = share.resume(position, contents)

    def _share(self, number: int) -> Sink[Any]:
        return share_of(self._sink, number, self._step.parallelism)

    def run(
        self, values: Sequence[Any], keys: Sequence[Hashable] | None, timestamps_s: Sequence[float] | None
    ) -> Columns:
        """Write one batch; raises SinkUnwritable, or RecordFailed where the sink raised something of its own.

        Records that the sink refuses one by one are set aside where the step says so, and the others are written.
        """
        if self._writer is None:
            raise InternalError(f"the sink of step {self._step.name!r} was written before it was opened")
        first = self._num_read + 1
        self._num_read += len(values)
        numbers = list(range(first, first + len(values)))
        while values:
            try:
                self._writer.write(values)
            except SinkUnwritable as error:
                if error.at is None or (self._step.on_error is not OnError.DEAD_LETTER and error.raised is None):
                    raise
                values, numbers = self._without((error, *error.others), values, numbers)
            except SageError:
                raise
            except Exception as error:  # noqa: BLE001 - a user's own sink may raise anything
                self._failures.give_up(self._step, error, list(values), Numbers(first, self._num_read))
                return [], None, None
            else:
                break
        return values, None, None

    def _without(
        self, refused: Sequence[SinkUnwritable], values: Sequence[Any], numbers: Sequence[int]
    ) -> tuple[list[Any], list[int]]:
        """Give up the records that are refused; return the others, and their numbers."""
        by_place = {error.at: error for error in refused}
        left: list[int] = []
        for at, number in enumerate(numbers):
            if (error := by_place.get(at)) is None:
                left.append(at)
            else:
                self._failures.give_up(self._step, error.raised or error, [values[at]], Numbers(number, number))
        return [values[at] for at in left], [numbers[at] for at in left]

    def advance(self, watermark_s: float | None) -> tuple[None, float | None]:
        """Time changes nothing here."""
        return None, watermark_s

    def close(self, *, complete: bool) -> None:
        """Finish the sink, once; raises SinkUnwritable, when all shares are closed."""
        shares, self._shares, self._writer = self._shares, {}, None
        failed: list[Exception] = []
        for writer in shares.values():
            try:
                writer.close(complete=complete and not failed)
            except Exception as error:  # noqa: BLE001 - a user's own sink may raise anything; the rest is let go of
                failed.append(error)
        if failed:
            raise failed[0]


def _written(writer: SinkWriter[Any]) -> Written:
    return cast("ResumableWriter[Any]", writer).written()


def _number_of(kept: tuple[int, Any]) -> int:
    return kept[0]


def _all_of(calls: Sequence[Callable[[], None]]) -> Callable[[], None] | None:
    """Return what calls all of them; None where there are none."""
    if len(calls) < 2:
        return calls[0] if calls else None
    return partial(_call_all, calls)


def _call_all(calls: Sequence[Callable[[], None]]) -> None:
    for call in calls:
        call()
