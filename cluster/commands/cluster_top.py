"""A running cluster as a live view on the terminal: nodes, engines and jobs, again and again. Asks, decides nothing."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from cluster.commands.cluster_tables import Rows, engine_rows, job_rows, node_rows, rate_of
from cluster.commands.show import counted, print_table
from cluster.runtime.states import JobState, NodeState
from sage.flow.runner import EngineStatus

if TYPE_CHECKING:  # Rich is slow to import, and loaded where there is a terminal
    from rich.console import Console, Group

EVERY_S = 1.0
_MAX_PAST_JOBS = 8


class ClusterSnapshot(msgspec.Struct, frozen=True):
    """All there is to see of a cluster at one time; jobs are newest first."""

    cluster: str
    taken_unix_s: float
    nodes: tuple[NodeState, ...]
    engines: tuple[EngineStatus, ...]
    jobs: tuple[JobState, ...]


Look = Callable[[], ClusterSnapshot]


def show_live(look: Look, wait: Callable[[float], bool], *, console: "Console | None" = None) -> None:
    """Show what `look` sees, every second, until `wait(seconds)` says that it is over or Ctrl-C comes.

    `console`: by default the terminal.
    """
    from rich.live import Live

    before = look()
    with Live(_view(before, before), console=console, auto_refresh=False, screen=True) as live:
        live.refresh()
        try:
            while not wait(EVERY_S):
                now = look()
                live.update(_view(now, before), refresh=True)
                before = now
        except KeyboardInterrupt:
            return


def show_once(snapshot: ClusterSnapshot) -> None:
    """Print one look: what there is where no terminal is."""
    print(headline(snapshot))
    for rows in _tables(snapshot):
        print()
        print_table(rows)


def is_terminal() -> bool:
    return sys.stdout.isatty()


def headline(now: ClusterSnapshot, records_per_s: float = 0.0) -> str:
    """Say in one line what there is."""
    running = sum(not job.is_over for job in now.jobs)
    rate = f", {records_per_s:,.0f} records/s" if records_per_s else ""
    parts = (counted(len(now.nodes), "node"), counted(len(now.engines), "engine"), f"{counted(running, 'job')} running")
    return f"cluster {now.cluster}: {', '.join(parts)}{rate}"


def _tables(now: ClusterSnapshot) -> list[Rows]:
    shown = [job for job in now.jobs if not job.is_over]
    shown += [job for job in now.jobs if job.is_over][:_MAX_PAST_JOBS]
    tables = [node_rows(now.nodes), engine_rows(now.engines), job_rows(shown, now.taken_unix_s)]
    return [rows for rows in tables if len(rows) > 1]


def _view(now: ClusterSnapshot, before: ClusterSnapshot) -> "Group":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Text | Table] = [Text(headline(now, rate_of(now.jobs, before.jobs)), style="bold")]
    for heading, *rows in _tables(now):
        table = Table(box=None, pad_edge=False)
        for cell in heading:
            table.add_column(cell)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        parts += [Text(), table]
    return Group(*parts, Text("\nCtrl-C ends this view; the cluster goes on.", style="dim"))
