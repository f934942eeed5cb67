"""What a job that has ended promised of each sink. Pure; knows nothing of how it ran."""

from sage.flow.graph import Graph
from sage.flow.sinks import JsonLinesSink, ListSink
from sage.flow.spec import SINKS, Spec, Write


def guarantees_of(graph: Graph, num_restarts: int) -> tuple[str, ...]:
    """Return a line a sink. `num_restarts`: how often the job began anew from nothing: a node or its head was lost."""
    return tuple(
        f"{step.name}: {_promise(step.spec, num_restarts)}" for step in graph.steps if isinstance(step.spec, SINKS)
    )


def _promise(sink: Spec, num_restarts: int) -> str:
    if not num_restarts:
        return "each record once in a run that finishes; a failed run is not resumed"
    runs = f"{num_restarts + 1} runs, since a node or the head was lost"
    if _shows_whole_runs_only(sink):
        return f"each record once: of {runs}, only the last counts"
    return f"each record at least once: the job took {runs}, and what the first ones wrote stays"


def _shows_whole_runs_only(sink: Spec) -> bool:
    """Say whether nobody sees what a run has written before it has ended well."""
    return isinstance(sink, Write) and isinstance(sink.sink, ListSink | JsonLinesSink)
