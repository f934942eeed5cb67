"""Opens the folder of a flow's checkpoints for a job, and finds from where it goes on. Reads all that is there."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from pykka import ActorRef

from cluster.checkpoints.disk import Disk, RealDisk
from cluster.checkpoints.folder import CheckpointFolder
from cluster.checkpoints.lock import FolderLock
from cluster.checkpoints.opening import Beginning, beginning, folder_name
from cluster.jobs.flow_types import flow_types
from cluster.jobs.job_checkpoints import CheckpointPlan
from sage.base.errors import SageError
from sage.base.log import get_log
from sage.base.settings import FULL_DISK_S
from sage.flow.checkpoint import Checkpoint, Resume
from sage.flow.graph import Graph


class Held(Protocol):
    """A folder that nobody else may write to."""

    def release(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Storage:
    """Where folders are, by default on this machine. `hold` raises CheckpointUnusable where another holds it.

    `full_disk_s`: how long a job waits for room there.
    """

    open_disk: Callable[[str], Disk] = RealDisk
    hold: Callable[[str], Held] = FolderLock
    full_disk_s: float = FULL_DISK_S

    def open_folder(self, path: str) -> CheckpointFolder:
        return CheckpointFolder(self.open_disk(path), path)


HERE = Storage()


def flow_folder(folder: str | os.PathLike[str], flow: str) -> str:
    """Return where in a folder the checkpoints of one flow are."""
    return os.path.join(os.path.abspath(folder), folder_name(flow))


def open_checkpoints(
    graph: Graph, wanted: Checkpoint, resume: Resume, clerk: ActorRef[Any], storage: Storage = HERE
) -> CheckpointPlan:
    """Return how a job takes checkpoints, and from which it goes on. The folder is locked until `on_over` is called.

    Raises: CheckpointUnusable, CheckpointUnusable, FlowInvalid.
    """
    path = flow_folder(wanted.folder, graph.name)
    held = storage.hold(path)
    try:
        begins_in, found = _beginning(graph, wanted, resume, path, storage)
    except SageError:
        held.release()
        raise
    for note in found.notes:
        get_log(flow=graph.name).warning("checkpoint passed over", what=note)
    return CheckpointPlan(
        folder=path,
        every_s=wanted.every_s,
        timeout_s=wanted.timeout_s,
        num_kept=wanted.num_kept,
        begins_at=found.begins_at,
        begins_in=begins_in,
        lost=found.lost,
        dropped=wanted.drop,
        next_id=found.next_id,
        clerk=clerk,
        letters=found.letters,
        state=wanted.state,
        types=flow_types(graph),
        on_over=held.release,
        notes=found.notes,
        full_disk_s=storage.full_disk_s,
    )


def _beginning(graph: Graph, wanted: Checkpoint, resume: Resume, path: str, storage: Storage) -> tuple[str, Beginning]:
    """Return a folder and what of it the job begins with: its own, or the savepoint where that has nothing."""
    own = storage.open_folder(path)
    if wanted.savepoint is None or resume == "never" or own.find().has_any:
        return path, beginning(graph, own, resume, wanted.drop)
    other = flow_folder(wanted.savepoint, graph.name)
    begins = beginning(graph, storage.open_folder(other), "must", wanted.drop)
    return other, replace(begins, next_id=own.find().next_id, letters=replace(begins.letters, pieces=()))
