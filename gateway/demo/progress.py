"""How far the index is: a bar on a terminal, a line a quarter elsewhere. Knows no flow; the two counts are given."""

from typing import Protocol, TextIO

from sage.flow.runner import JobMetrics


class Progress(Protocol):
    """Shows `done` of `total`; called from one thread at a time, `finish` at most once."""

    def show(self, done: int, total: int) -> None: ...

    def finish(self) -> None: ...


def counts_of(metrics: JobMetrics, *, step: str, before: str) -> tuple[int, int]:
    """Return how many records have left the chain that `step` is in, and how many the chain of `before` has given."""
    out = {step: chain.records_out for chain in metrics.chains for step in chain.steps}
    return out.get(step, 0), out.get(before, 0)


class QuarterLines:
    """A line as work begins and at each quarter of it."""

    def __init__(self, label: str, stream: TextIO) -> None:
        self._label = label
        self._stream = stream
        self._shown = -1

    def show(self, done: int, total: int) -> None:
        quarter = 4 * done // total if total else 0
        if quarter > self._shown:
            self._shown = quarter
            self._stream.write(f"{self._label}: {done:,} of {total:,}\n" if total else f"{self._label}\n")
            self._stream.flush()

    def finish(self) -> None:
        """Nothing to clear away."""


class BarProgress:
    """A bar that is cleared away at the end."""

    def __init__(self, label: str, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = RichProgress(*columns, console=Console(file=stream), transient=True)
        self._task = self._bar.add_task(label, total=None)
        self._bar.start()

    def show(self, done: int, total: int) -> None:
        self._bar.update(self._task, completed=done, total=total or None)

    def finish(self) -> None:
        self._bar.stop()
