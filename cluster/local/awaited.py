"""What a cluster has, to be awaited by coroutines too. Knows no event loop."""

from abc import abstractmethod

from cluster.local.models import AskedCluster
from sage.flow.checkpoint import Checkpoint, Resume
from sage.flow.graph import Graph
from sage.flow.runner import AsyncCluster, Job, NodeView, Submittable


class AwaitedCluster(AskedCluster):
    """A cluster of which all that waits can be awaited too."""

    @abstractmethod
    def submit(
        self, flow: Graph | Submittable, *, checkpoint: Checkpoint | None = None, resume: Resume = "auto"
    ) -> Job: ...

    @abstractmethod
    def jobs(self) -> list[Job]: ...

    @abstractmethod
    def nodes(self) -> list[NodeView]: ...

    @property
    def aio(self) -> AsyncCluster:
        from cluster.local.async_cluster import CoroutineCluster  # asyncio is slow to import, and most do without it

        return CoroutineCluster(self._asker, self)
