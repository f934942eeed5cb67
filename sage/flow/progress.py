"""Shows how far a job is: a live line a chain on a terminal, now and then a plain line elsewhere. Knows no job."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from sage.base.clock import SystemClock
from sage.flow.event_time_shown import shown_lag, shown_watermark
from sage.flow.runner import ChainMetrics, JobMetrics

if TYPE_CHECKING:  # Rich is slow to import, and few runs show progress
    from rich.table import Table

OnProgress = Callable[[JobMetrics], None]

EVERY_S = 2.0  # between plain lines


@contextmanager
def show_progress(flow_name: str, stream: TextIO) -> Iterator[OnProgress]:
    """Give a function that shows metrics on `stream`; at the end the last state stays there."""
    if not stream.isatty():
        yield PlainProgress(flow_name, stream)
        return
    from rich.console import Console
    from rich.live import Live

    # No thread of its own: `wait` calls back ten times a second.
    with Live(console=Console(file=stream), auto_refresh=False, transient=False) as live:
        yield lambda metrics: live.update(_table(flow_name, metrics), refresh=True)


class PlainProgress:
    """Writes a line when the status changes and every EVERY_S seconds of the job."""

    def __init__(self, flow_name: str, stream: TextIO) -> None:
        self._flow_name = flow_name
        self._stream = stream
        self._last: tuple[str, int] | None = None

    def __call__(self, metrics: JobMetrics) -> None:
        state = (metrics.status_shown, int(metrics.duration_s / EVERY_S))
        if state != self._last:
            self._last = state
            print(line_of_metrics(self._flow_name, metrics), file=self._stream, flush=True)


class Whereabouts:
    """Writes a line for each source that listens, once: where to post to it."""

    def __init__(self, flow_name: str, stream: TextIO) -> None:
        self._flow_name = flow_name
        self._stream = stream
        self._said: set[str] = set()

    def __call__(self, metrics: JobMetrics) -> None:
        for chain in metrics.chains:
            for url in chain.urls:
                if url not in self._said:
                    self._said.add(url)
                    print(f"{self._flow_name}: {chain.steps[0]} listens at {url}", file=self._stream, flush=True)


def line_of_metrics(flow_name: str, metrics: JobMetrics) -> str:
    """Say in one line how far a job is.

    >>> from sage.flow.runner import JobStatus
    >>> line_of_metrics("words", JobMetrics(JobStatus.RUNNING, 1000, 10, 2.0, ()))
    'words: running, 2.0 s, 1,000 records in (500/s), 10 out'
    """
    rate = metrics.records_in / metrics.duration_s if metrics.duration_s > 0 else 0.0
    tokens = sum(chain.completion_tokens for chain in metrics.chains)
    urls = ", ".join(url for chain in metrics.chains for url in chain.urls)
    return (
        f"{flow_name}: {metrics.status_shown}, {metrics.duration_s:.1f} s, {metrics.records_in:,} records in "
        f"({rate:,.0f}/s), {metrics.records_out:,} out"
        + (f", {tokens:,} tokens generated" if tokens else "")
        + (f", listens at {urls}" if urls else "")
    )


def _table(flow_name: str, metrics: JobMetrics) -> "Table":
    from rich.table import Table

    table = Table(title=line_of_metrics(flow_name, metrics), title_justify="left", box=None, pad_edge=False)
    table.add_column("steps")
    headings = ["in", "in/s", "out", "waiting", "requests", "tokens", "busy"]
    is_timed = any(chain.watermark_s is not None for chain in metrics.chains)
    for heading in [*headings, "watermark", "lag"] if is_timed else headings:
        table.add_column(heading, justify="right")
    now_unix_s = SystemClock().unix_s()
    for chain in metrics.chains:
        time = (shown_watermark(chain.watermark_s), shown_lag(chain.watermark_s, now_unix_s)) if is_timed else ()
        table.add_row(" → ".join(chain.steps), *_cells(chain, metrics.duration_s), *time)
    return table


def _cells(chain: ChainMetrics, duration_s: float) -> tuple[str, ...]:
    tokens = chain.prompt_tokens + chain.completion_tokens
    rate = round(chain.records_in / duration_s) if duration_s > 0 else 0
    numbers = (chain.records_in, rate, chain.records_out, chain.num_waiting, chain.num_requests, tokens)
    return (*(f"{number:,}" if number else "" for number in numbers), f"{chain.busy_s:.1f} s")
