"""What a node says of a run, as it travels to the head and as the job manager takes it. Pure."""

from collections.abc import Sequence

import msgspec

from cluster.runtime.control import (
    RemoteFailure,
    RunOpened,
    RunProgressed,
    RunSetAside,
    RunStopped,
    RunTaskDrained,
    RunTaskEnded,
    RunTaskSaved,
)
from cluster.runtime.messages import (
    JobOpened,
    JobProgress,
    JobSetAside,
    JobStopped,
    JobTaskDrained,
    JobTaskEnded,
    JobTaskSaved,
    NodeFact,
)
from sage.base.ids import NodeId
from sage.flow.runner import DeadLetterRecord

ManagedFact = RunOpened | RunTaskDrained | RunTaskEnded | RunStopped | RunSetAside | RunProgressed | RunTaskSaved
MAX_LETTERS = 100  # of 30,000 characters at most: they fit in one message
MAX_LETTER_CHARS = 10_000


def travelling(fact: NodeFact) -> list[ManagedFact]:
    """Return `fact` as messages of control; on a node, the job of a fact is its run."""
    match fact:
        case JobOpened(run_id, _, listings):
            return [RunOpened(run_id, listings)]
        case JobTaskDrained(run_id, task_id):
            return [RunTaskDrained(run_id, task_id)]
        case JobTaskEnded(run_id, task_id, is_complete, error):
            return [RunTaskEnded(run_id, task_id, is_complete, RemoteFailure.of(error) if error is not None else None)]
        case JobStopped(run_id, _, stuck):
            return [RunStopped(run_id, stuck)]
        case JobSetAside(run_id, letters):
            return [RunSetAside(run_id, part) for part in _parts(letters)]
        case JobTaskSaved(run_id, task_id, checkpoint_id, pieces, num_letters, error, commits):
            failure = RemoteFailure.of(error) if error is not None else None
            return [RunTaskSaved(run_id, task_id, checkpoint_id, pieces, num_letters, failure, commits)]
        case JobProgress(run_id, _, tasks):
            return [RunProgressed(run_id, tasks)]


def arrived(fact: ManagedFact, node_id: NodeId) -> NodeFact:
    """Return what came from a node as the job manager takes it."""
    match fact:
        case RunOpened(run_id, listings):
            return JobOpened(run_id, node_id, listings)
        case RunTaskDrained(run_id, task_id):
            return JobTaskDrained(run_id, task_id)
        case RunTaskEnded(run_id, task_id, is_complete, error):
            return JobTaskEnded(run_id, task_id, is_complete, error.error() if error is not None else None)
        case RunStopped(run_id, stuck):
            return JobStopped(run_id, node_id, stuck)
        case RunSetAside(run_id, letters):
            return JobSetAside(run_id, letters)
        case RunTaskSaved(run_id, task_id, checkpoint_id, pieces, num_letters, error, commits):
            failed = error.error() if error is not None else None
            return JobTaskSaved(run_id, task_id, checkpoint_id, pieces, num_letters, failed, commits)
        case RunProgressed(run_id, tasks):
            return JobProgress(run_id, node_id, tasks)


def _parts(letters: Sequence[DeadLetterRecord]) -> list[tuple[DeadLetterRecord, ...]]:
    cut = [
        msgspec.structs.replace(
            letter, error=letter.error[:MAX_LETTER_CHARS], traceback=letter.traceback[-MAX_LETTER_CHARS:]
        )
        for letter in letters
    ]
    return [tuple(cut[first : first + MAX_LETTERS]) for first in range(0, len(cut), MAX_LETTERS)]
