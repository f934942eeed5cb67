"""The models of a cluster, and its flows that are asked as models, for the coroutines of one event loop.

A cluster that is lost is looked for as long as the gateway runs; until then every request is told so. Knows no HTTP.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from cluster.client.cluster import RemoteCluster
from cluster.runtime.control import ControlMessage
from cluster.runtime.control_clients import (
    ChatModel,
    EngineList,
    JobList,
    ListEngines,
    ListJobs,
    ListModels,
    ListNodes,
    ModelList,
    NodeList,
)
from cluster.runtime.control_engine_log import EngineLog, GetEngineLog, LogMark
from cluster.runtime.control_plane import ChangePolicy, GetPlane, PlaneShown
from cluster.runtime.states import JobState, NodeState, PlaneState
from sage.base.errors import ClusterUnreachable, SageError
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Failed, ModelCard, Reply, ReplyTo, Request
from sage.base.log import get_log
from sage.flow.runner import EngineStatus

A = TypeVar("A")

ANSWER_S = 2.0
LOOK_AFTER_S = 0.5
LOOK_AT_MOST_EVERY_S = 5.0


class ClusterModels:
    """An Inference; made and used on the thread of the loop, where `refresh` brings what the others return."""

    def __init__(
        self, cluster: RemoteCluster, reach: Callable[[], RemoteCluster], *, answer_s: float = ANSWER_S
    ) -> None:
        """`reach` finds the cluster again, on any thread; both are closed by `close`. It is to answer in `answer_s`."""
        self._answer_s = answer_s
        self._loop = asyncio.get_running_loop()
        self._cluster = cluster
        self._reach = reach
        self._models: tuple[ModelCard, ...] = ()
        self._flows: tuple[ChatModel, ...] = ()
        self._engines: tuple[EngineStatus, ...] = ()
        self._looking: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        def heard(replies: Sequence[Reply]) -> None:
            if any(isinstance(one, Failed) and one.failure.code == ClusterUnreachable.code for one in replies):
                self._loop.call_soon_threadsafe(self._look_again)
            reply_to(replies)

        self._cluster.inference.submit(requests, heard)

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        self._cluster.inference.cancel(request_ids)

    def models(self) -> tuple[ModelCard, ...]:
        """Return what engines of the cluster served at the last `refresh`."""
        return self._models

    def flows(self) -> tuple[ChatModel, ...]:
        """Return the flows that answered as models then."""
        return self._flows

    def engines(self) -> tuple[EngineStatus, ...]:
        return self._engines

    async def refresh(self) -> None:
        """Ask the cluster what there is; nothing where it does not answer."""
        try:
            found, engines = await asyncio.gather(self._ask(ListModels, ModelList), self._ask(ListEngines, EngineList))
        except SageError as error:
            get_log().warning("cluster does not answer", why=str(error))
            self._models, self._flows, self._engines = (), (), ()
            self._look_again()
            return
        self._models, self._flows, self._engines = found.models, found.chats, engines.engines

    async def engines_now(self) -> tuple[EngineStatus, ...]:
        """Return the engines of the cluster as they are; raises ClusterUnreachable."""
        return (await self._ask(ListEngines, EngineList)).engines

    async def engine_log(self, engine_id: EngineId, mark: LogMark | None) -> EngineLog:
        """Return what the process of an engine wrote after `mark`, or the newest; raises InvalidRequest without one."""
        return await self._ask(lambda number: GetEngineLog(number, engine_id, mark), EngineLog)

    async def jobs(self) -> tuple[JobState, ...]:
        """Return every job that the cluster knows, as it is; raises ClusterUnreachable."""
        return (await self._ask(ListJobs, JobList)).jobs

    async def nodes(self) -> tuple[NodeState, ...]:
        """Return every node of the cluster, as it is; raises ClusterUnreachable."""
        return (await self._ask(ListNodes, NodeList)).nodes

    async def plane_state(self) -> PlaneState:
        """Return the policy and the route of the cluster's plane, and its tenants; raises ClusterUnreachable."""
        return (await self._ask(GetPlane, PlaneShown)).state

    async def set_policy(self, policy: str | None, route: str | None) -> PlaneState:
        """Change the policy and the route of the cluster's plane; raises UnknownPolicy, ClusterUnreachable."""
        return (await self._ask(lambda number: ChangePolicy(number, policy, route), PlaneShown)).state

    async def close(self) -> None:
        """Say goodbye; what is open has been answered before."""
        self._closing.set()
        if self._looking is not None:
            await asyncio.gather(self._looking, return_exceptions=True)
        await asyncio.to_thread(self._cluster.close)

    async def _ask(self, ask: Callable[[int], ControlMessage], expected: type[A]) -> A:
        came: asyncio.Future[object] = self._loop.create_future()

        def put(answer: object) -> None:
            self._loop.call_soon_threadsafe(_settle, came, answer)

        self._cluster.inference.line.call(ask, put)
        try:
            async with asyncio.timeout(self._answer_s):
                answer = await came
        except TimeoutError:
            what = f"the cluster at {self._cluster.where} has not answered within {self._answer_s:g} s"
            raise ClusterUnreachable(what, "Ask again later.") from None
        if isinstance(answer, SageError):
            raise answer
        assert isinstance(answer, expected), answer
        return answer

    def _look_again(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = self._loop.create_task(self._look())

    async def _look(self) -> None:
        """Find the cluster again, however long that takes."""
        after_s = LOOK_AFTER_S
        while not await self._closes_within(after_s):
            try:
                found = await asyncio.to_thread(self._reach)
            except SageError:
                after_s = min(2 * after_s, LOOK_AT_MOST_EVERY_S)
                continue
            lost, self._cluster = self._cluster, found
            get_log().warning("cluster found again", where=found.where, head=found.head_pid)
            await asyncio.to_thread(lost.close)
            return

    async def _closes_within(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._closing.wait()
        except TimeoutError:
            return False


def _settle(came: "asyncio.Future[object]", answer: object) -> None:
    if not came.done():
        came.set_result(answer)
