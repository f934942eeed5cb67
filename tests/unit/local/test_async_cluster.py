"""A cluster asked by coroutines: what threads can do, without standing in the way of the loop."""

import asyncio
import threading

import pytest

import sage
from cluster.local.async_cluster import CoroutineCluster
from cluster.local.awaited import AwaitedCluster
from cluster.local.cluster import LocalCluster
from cluster.local.models import Asker
from sage.base.clock import ManualClock
from sage.base.errors import FlowInvalid
from sage.flow.checkpoint import Checkpoint, Resume
from sage.flow.graph import Graph
from sage.flow.runner import Job, JobStatus, NodeView, Submittable
from tests.unit.local.test_models import Answering

DEADLINE_S = 10.0


def test_flows_are_submitted_and_jobs_and_nodes_listed_by_coroutines() -> None:
    async def run(cluster: LocalCluster) -> None:
        flow = sage.Flow("f")
        out = flow.from_collection([1, 2]).map(lambda n: n + 1).collect()
        job = await cluster.aio.submit(flow)
        result = await asyncio.to_thread(job.wait, DEADLINE_S)
        assert (result.status, out.items) == (JobStatus.FINISHED, [2, 3])
        assert [each.id for each in await cluster.aio.jobs()] == [job.id]
        assert [node.num_tasks for node in await cluster.aio.nodes()] == [0]
        with pytest.raises(FlowInvalid):
            await cluster.aio.submit(sage.Flow("empty"))

    with LocalCluster() as cluster:
        asyncio.run(run(cluster))


class Slow(AwaitedCluster):
    """A cluster that takes a flow as soon as it may."""

    def __init__(self, inner: LocalCluster) -> None:
        self._asker = Asker(Answering(), lambda model, kind: None, list, ManualClock())
        self.inner = inner
        self.has_begun, self.may_end = threading.Event(), threading.Event()

    def submit(
        self, flow: Graph | Submittable, *, checkpoint: Checkpoint | None = None, resume: Resume = "auto"
    ) -> Job:
        self.has_begun.set()
        assert self.may_end.wait(DEADLINE_S)
        return self.inner.submit(flow, checkpoint=checkpoint, resume=resume)

    def jobs(self) -> list[Job]:
        return self.inner.jobs()

    def nodes(self) -> list[NodeView]:
        return self.inner.nodes()


def test_whoever_leaves_while_a_flow_is_submitted_leaves_no_job_behind() -> None:
    async def leave(cluster: Slow) -> None:
        flow = sage.Flow("f")
        flow.ticks(3600.0).for_each(lambda tick: None)
        submitting = asyncio.create_task(CoroutineCluster(cluster._asker, cluster).submit(flow))
        await asyncio.to_thread(cluster.has_begun.wait, DEADLINE_S)
        submitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitting
        cluster.may_end.set()

    with LocalCluster() as inner:
        asyncio.run(leave(Slow(inner)))  # returns once its threads have
        assert [job.status for job in inner.jobs()] == [JobStatus.CANCELLED]
