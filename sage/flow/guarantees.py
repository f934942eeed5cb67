"""What a job that has ended promised of each sink. Pure; knows nothing of how it ran."""

from collections.abc import Mapping

from sage.flow.connectors.http_sink import Delivered
from sage.flow.connectors.http_source import posted_to
from sage.flow.graph import Graph, Step
from sage.flow.ports import PartitionedSource, Repeats, ResumableSink, RewindableSource, repeats_of
from sage.flow.spec import SINKS, IndexInto, KeyBy, MapAsync, Read, Spec, Waiting, Write, holds_keys


def guarantees_of(graph: Graph, num_restarts: int, *, is_kept: bool = False) -> tuple[str, ...]:
    """Return a line a sink, and a source that acknowledges. `num_restarts`: how often the job began anew: a node or
    its head was lost.

    `is_kept`: it takes checkpoints, and so began each time from the newest; else from nothing.
    """
    by_name = {step.name: step for step in graph.steps}
    if is_kept:
        return tuple(
            f"{_shown_as(step)}: {line}{_order(step, by_name)}"
            for step in graph.steps
            if (line := _promise_where_kept(step.spec))
        )
    return tuple(
        f"{_shown_as(step)}: {_promise_of_posts(step.spec) or _promise(step.spec, num_restarts)}{_order(step, by_name)}"
        for step in graph.steps
        if isinstance(step.spec, SINKS) or _promise_of_posts(step.spec)
    )


def _shown_as(step: Step) -> str:
    """Return the name that its user knows: of a hook, the step that sends."""
    return step.inputs[0] if isinstance(step.spec, Write) and isinstance(step.spec.sink, Delivered) else step.name


def _order(step: Step, by_name: Mapping[str, Step]) -> str:
    """Say what is left of the order of records where several instances write them."""
    if isinstance(step.spec, Write) and isinstance(step.spec.sink, Delivered):
        step = by_name[step.inputs[0]]  # which sends
    if step.parallelism == 1 or not isinstance(step.spec, (*SINKS, MapAsync)):
        return ""
    kept = "the order within a key" if _keeps_keys(step, by_name) else "no order between them"
    return f"; by {step.parallelism} instances, which keep {kept}"


def _keeps_keys(step: Step, by_name: Mapping[str, Step]) -> bool:
    """Say whether all records of a key come to one of several instances, in the order in which one would have them."""
    if isinstance(step.spec, Waiting) and not step.spec.ordered:
        return False
    if holds_keys(step.spec):
        return True
    if len(step.inputs) != 1:
        return False
    before = by_name[step.inputs[0]]
    return isinstance(before.spec, KeyBy) or (before.parallelism == step.parallelism and _keeps_keys(before, by_name))


def _promise_of_posts(spec: Spec, *, is_kept: bool = False) -> str | None:
    """Return what the answer 202 is worth; None for what is no source that listens."""
    if posted_to(spec) is None:
        return None
    if is_kept:
        return "202 says that the post is on the disk: it is counted once, also where a run goes on from a checkpoint"
    return "202 says that the post is in memory: lost where the run ends, or begins anew, before it was counted"


def _promise_where_kept(spec: Spec) -> str | None:
    """Return what holds of a sink, and of a source that cannot say where it is, however often the flow is killed."""
    if posts := _promise_of_posts(spec, is_kept=True):
        return posts
    if isinstance(spec, Read) and not isinstance(spec.source, RewindableSource | PartitionedSource):
        return "read again from its start where a run goes on from a checkpoint, and has to give the same records"
    return _promise_of_sink_kept(spec) if isinstance(spec, SINKS) else None


def _promise_of_sink_kept(sink: Spec) -> str:
    if isinstance(sink, IndexInto) or (isinstance(sink, Write) and isinstance(sink.sink, ResumableSink)):
        return "each record exactly once, also where a run goes on from a checkpoint"
    if _repeats(sink) is Repeats.SAME:
        return "each record exactly once: what is written again, after a checkpoint, leaves all as it was"
    if _repeats(sink) is Repeats.BY_KEY:
        return "each record at least once, with one Idempotency-Key: once, where whoever gets it takes each key once"
    return "each record at least once: what came after the checkpoint that a run goes on from comes again"


def _promise(sink: Spec, num_restarts: int) -> str:
    if not num_restarts and isinstance(sink, Write) and isinstance(sink.sink, Delivered):
        with_key = ", with one Idempotency-Key" if _repeats(sink) is Repeats.BY_KEY else ""
        return f"each record at least once{with_key}: it is sent again where an answer was lost"
    if not num_restarts:
        return "each record once in a run that finishes; a failed run is not resumed"
    runs = f"{num_restarts + 1} runs, since a node or the head was lost"
    match _repeats(sink):
        case Repeats.HIDDEN:
            return f"each record once: of {runs}, only the last counts"
        case Repeats.SAME:
            return f"each record once: of {runs}, each writes the same again"
        case Repeats.BY_KEY:
            return f"each record at least once, with one Idempotency-Key: the job took {runs}"
        case Repeats.SHOWN:
            return f"each record at least once: the job took {runs}, and what the first ones wrote stays"


def _repeats(sink: Spec) -> Repeats:
    return repeats_of(sink.sink) if isinstance(sink, Write) else Repeats.SHOWN
