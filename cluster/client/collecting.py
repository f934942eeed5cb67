"""What the collecting sinks of a job bring, put into the sinks of the flow here. Knows no connection.

A job that is begun anew brings everything anew: of its runs only the newest counts.
"""

from collections.abc import Callable, Sequence
from typing import Any

from cluster.runtime.control_clients import CollectedNews
from sage.base.errors import JobInterrupted
from sage.base.ids import JobId, TaskId
from sage.flow.graph import Graph
from sage.flow.ports import SinkWriter
from sage.flow.sinks import ListSink
from sage.flow.spec import Write

Unpack = Callable[[bytes], Sequence[Any]]
"""Returns the records of one message; raises a SageError for bytes that are none."""


class Collecting:
    """The sinks of one flow that keep records in memory. Used by one thread."""

    def __init__(self, graph: Graph, unpack: Unpack) -> None:
        self._sinks = collecting_sinks(graph)
        self._unpack = unpack
        self._run_id: JobId | None = None
        self._older: set[JobId] = set()
        self._writers: dict[str, SinkWriter[Any]] = {}
        self._taken: dict[TaskId, int] = {}

    def __bool__(self) -> bool:
        return bool(self._sinks)

    def begin(self, run_id: JobId) -> None:
        """Take what this run brings, and let go of what an older one brought."""
        if run_id == self._run_id or run_id in self._older:
            return
        if self._run_id is not None:
            self._older.add(self._run_id)
        self._run_id = run_id
        self._taken = {}
        self._writers = {step: sink.open() for step, sink in self._sinks.items()}

    def take(self, news: CollectedNews) -> None:
        """Add what a run brought, which may be known by this alone; nothing counts of an older run, or twice.

        Raises JobInterrupted where something that came before is missing.
        """
        self.begin(news.run_id)
        if news.run_id != self._run_id or news.step not in self._writers:
            return
        last = self._taken.get(news.task_id, 0)
        if news.number > last + 1:
            what = f"{news.number - last - 1} messages of what {news.step!r} collected were given up meanwhile"
            raise JobInterrupted(what, "This client was not there in time to take them: submit the flow again.")
        if news.number == last + 1:
            self._taken[news.task_id] = news.number
            self._writers[news.step].write(self._unpack(news.records))


def collecting_sinks(graph: Graph) -> dict[str, ListSink[Any]]:
    """Return the sinks of `graph` that keep records in memory, by the name of their step."""
    return {
        step.name: step.spec.sink
        for step in graph.steps
        if isinstance(step.spec, Write) and isinstance(step.spec.sink, ListSink)
    }
