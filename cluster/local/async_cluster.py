"""A cluster for coroutines: flows are submitted, and asked about, on threads beside the event loop. Knows no runner."""

import asyncio
import threading
from collections.abc import Callable

from cluster.local.async_models import CoroutineModels
from cluster.local.awaited import AwaitedCluster
from cluster.local.models import Asker
from sage.flow.checkpoint import Checkpoint, Resume
from sage.flow.graph import Graph
from sage.flow.runner import Job, NodeView, Submittable


class CoroutineCluster(CoroutineModels):
    """An AsyncCluster."""

    def __init__(self, asker: Asker, cluster: AwaitedCluster) -> None:
        super().__init__(asker)
        self._cluster = cluster

    async def submit(
        self, flow: Graph | Submittable, *, checkpoint: Checkpoint | None = None, resume: Resume = "auto"
    ) -> Job:
        """Start a flow; a task that is cancelled while it waits for that cancels the job too."""
        submission = _Submission(lambda: self._cluster.submit(flow, checkpoint=checkpoint, resume=resume))
        try:
            return await asyncio.to_thread(submission.make)
        except asyncio.CancelledError:
            if (job := submission.leave()) is not None:
                asyncio.get_running_loop().run_in_executor(None, job.cancel)
            raise

    async def jobs(self) -> list[Job]:
        return await asyncio.to_thread(self._cluster.jobs)

    async def nodes(self) -> list[NodeView]:
        return await asyncio.to_thread(self._cluster.nodes)


class _Submission:
    """Made by one thread, and left by another: whoever comes second cancels the job."""

    def __init__(self, submit: Callable[[], Job]) -> None:
        self._submit = submit
        self._lock = threading.Lock()
        self._job: Job | None = None
        self._is_left = False

    def make(self) -> Job:
        job = self._submit()
        with self._lock:
            self._job = job
            is_left = self._is_left
        if is_left:
            job.cancel()
        return job

    def leave(self) -> Job | None:
        """Return the job if it is there, for the caller to cancel."""
        with self._lock:
            self._is_left = True
            return self._job
