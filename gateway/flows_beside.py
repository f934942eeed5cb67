"""A flow beside a gateway: in a node process, under a head in this one, asked as a model like those of the engines.

Knows no route. The flow's code never runs in the gateway's process.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from cluster.client.cluster import RemoteCluster
from cluster.local.job import SubmittedJob
from cluster.runtime.control_clients import ChatModel
from cluster.serving.loop import LoopPlane
from gateway.cluster_models import ClusterModels
from gateway.looped_plane import LoopedPlane
from sage.base.errors import ClusterUnreachable, InvalidRequest
from sage.base.ids import RequestId
from sage.base.inference import ModelCard, ReplyTo, Request
from sage.base.settings import Settings
from sage.base.tokenizing import TokenizerAnswer, TokenizerQuestion
from sage.flow.graph import Graph
from sage.flow.turns import chats_of

if TYPE_CHECKING:  # a gateway without a flow has no head, and does not load one
    from cluster.head.process import Head

WHERE = "this process"
BEGIN_S = 60.0


class FlowsBeside:
    """An Inference of flows first and engines else, on the thread of the loop. Until `start`, of engines only."""

    def __init__(self, plane: LoopPlane) -> None:
        self._plane = plane
        self._names: frozenset[str] = frozenset()
        self._head: Head | None = None
        self._flows: ClusterModels | None = None

    async def start(self, graph: Graph, settings: Settings) -> Self:
        """Run a flow that is asked as a model; raises what starting a node or submitting raises."""
        loop = asyncio.get_running_loop()
        plane = LoopedPlane(self._plane, loop)
        self._head, cluster = await asyncio.to_thread(_start_head, plane, settings)
        self._flows = ClusterModels(cluster, _not_found)
        job: SubmittedJob = await asyncio.to_thread(cluster.submit, graph, collects=False)
        await asyncio.to_thread(job.wait_begun, BEGIN_S)
        await self._flows.refresh()
        self._names = frozenset(chats_of(graph))
        return self

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        flows = self._flows
        of_flows = [request for request in requests if request.model in self._names]
        if flows is None or not of_flows:
            return self._plane.submit(requests, reply_to)
        flows.submit(of_flows, reply_to)
        if others := [request for request in requests if request.model not in self._names]:
            self._plane.submit(others, reply_to)

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        self._plane.cancel(request_ids)
        if self._flows is not None:
            self._flows.cancel(request_ids)

    def models(self) -> tuple[ModelCard, ...]:
        return self._plane.models()

    def flows(self) -> tuple[ChatModel, ...]:
        return self._flows.flows() if self._flows is not None else ()

    def is_flow(self, model: str) -> bool:
        return model in self._names

    async def ask_tokenizer(self, question: TokenizerQuestion, timeout_s: float) -> TokenizerAnswer:
        """Return what an engine's tokenizer answers; raises InvalidRequest for a flow, and as a plane does."""
        if question.model in self._names:
            what = f"model {question.model!r} is a flow, which has no tokenizer"
            raise InvalidRequest(what, "Name a model that it asks.", param="model")
        return await self._plane.ask_tokenizer(question, timeout_s)

    async def refresh(self) -> None:
        if self._flows is not None:
            await self._flows.refresh()

    async def close(self) -> None:
        """End the flow and its node."""
        if self._flows is not None:
            await self._flows.close()
        if self._head is not None:
            await asyncio.to_thread(self._head.close)


def _start_head(plane: LoopedPlane, settings: Settings) -> "tuple[Head, RemoteCluster]":
    from cluster.client.line import HeadLine
    from cluster.client.own_name import own_name
    from cluster.client.reach import attach_by
    from cluster.client.shipping import shipping_by
    from cluster.head.config import HeadConfig
    from cluster.head.process import Head
    from cluster.runtime.host_process import private_directory
    from cluster.runtime.signing import new_signing_key

    key = new_signing_key()
    folder = str(private_directory())
    config = HeadConfig(name="local", folder=folder, num_nodes=1, settings=settings, submitters=(key.public_key,))
    head = Head(config, plane)
    try:
        line = HeadLine(attach_by(head.start().control), where=WHERE)
        return head, RemoteCluster(line, line.greet(own_name()), shipping_by(key), where=WHERE)
    except BaseException:
        head.close()
        raise


def _not_found() -> RemoteCluster:
    raise ClusterUnreachable("the head of this process is gone", "Start the server again.")
