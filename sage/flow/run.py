"""Runs a flow from beginning to end: submit, wait, show progress, cancel at Ctrl-C. Knows no runner."""

import sys

from sage.base.errors import JobTimeout, TaskStuck
from sage.flow.checkpoint import Checkpoint, Resume
from sage.flow.connect import connect
from sage.flow.connectors.http_source import posted_to
from sage.flow.given import checked_flag
from sage.flow.graph import Graph
from sage.flow.progress import Whereabouts, show_progress
from sage.flow.runner import Job, JobResult, TakesFlows
from sage.flow.waits import check_wait
from sage.flow.where import refusal


def run_graph(
    graph: Graph,
    address: str | None,
    *,
    timeout_s: float | None,
    progress: bool | None,
    checkpoint: Checkpoint | None = None,
    resume: Resume = "auto",
) -> JobResult:
    """Run `graph` at `address` and wait for its end; what was started for it is stopped, however it ends."""
    check_wait(timeout_s)
    if timeout_s == 0:
        raise refusal(f"timeout_s is {timeout_s}; it is more than 0", param="timeout_s")
    if progress is not None:
        checked_flag(progress, "progress")
    with connect(address) as cluster:
        return run_on_cluster(
            cluster, graph, timeout_s=timeout_s, progress=progress, checkpoint=checkpoint, resume=resume
        )


def run_on_cluster(
    cluster: TakesFlows,
    graph: Graph,
    *,
    timeout_s: float | None = None,
    progress: bool | None = None,
    checkpoint: Checkpoint | None = None,
    resume: Resume = "auto",
) -> JobResult:
    """Submit `graph` and wait. Ctrl-C and a time-out cancel the job and are raised once it has stopped."""
    job = cluster.submit(graph, checkpoint=checkpoint, resume=resume)
    shown = sys.stderr.isatty() if progress is None else progress
    try:
        if not shown:
            listens = progress is None and any(posted_to(step.spec) for step in graph.steps)
            return job.wait(timeout_s, on_progress=Whereabouts(graph.name, sys.stderr) if listens else None)
        with show_progress(graph.name, sys.stderr) as on_progress:
            result = job.wait(timeout_s, on_progress=on_progress)
            on_progress(job.metrics())
            return result
    except KeyboardInterrupt as stop:
        _cancel(job, stop)
        raise
    except JobTimeout as late:
        what = f'the flow "{graph.name}" did not end within {timeout_s} s and was cancelled'
        cancelled = JobTimeout(what, "Give it more time: timeout_s=..., or none.", param="timeout_s")
        _cancel(job, cancelled)
        raise cancelled from late


def _cancel(job: Job, raised: BaseException) -> None:
    try:
        job.cancel()
    except TaskStuck as stuck:
        raised.add_note(str(stuck))
