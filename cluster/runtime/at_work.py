"""Which task the code of a user that runs now belongs to. Knows nothing of what is done with it."""

from contextvars import Context, ContextVar
from dataclasses import dataclass

from cluster.runtime.messages import TaskSpec
from sage.base.ids import JobId, TaskId


@dataclass(frozen=True, slots=True)
class AtWork:
    """`step`: the names of the task's steps, with " > " between."""

    run_id: JobId
    task_id: TaskId
    step: str


_AT_WORK: ContextVar[AtWork | None] = ContextVar("sage_at_work", default=None)


def at_work() -> AtWork | None:
    """Return the task whose context this code runs in: that of its thread, or of its coroutine; None outside of all.

    Threads that a user's function starts by itself belong to none.
    """
    return _AT_WORK.get()


def put_to_work(context: Context, spec: TaskSpec) -> None:
    """Have what runs in `context` belong to the task."""
    steps = " > ".join(step.name for step in spec.chain.steps)
    context.run(_AT_WORK.set, AtWork(spec.job_id, spec.id, steps))
