"""The plane of a gateway's loop, for a head in the same process. Knows no HTTP, and starts no engine."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from cluster.jobs.parts import Part
from cluster.runtime.states import PlaneState
from cluster.serving.engines.spec import EngineSpec
from cluster.serving.loop import LoopPlane
from sage.base.errors import NoEngine, Overloaded
from sage.base.ids import EngineId, NodeId, RequestId
from sage.base.inference import ModelCard, ReplyTo, Request
from sage.flow.runner import EngineStatus

A = TypeVar("A")

ANSWER_S = 5.0


class LoopedPlane:
    """A ClusterPlane for all threads but the loop's."""

    def __init__(self, plane: LoopPlane, loop: asyncio.AbstractEventLoop) -> None:
        self._plane = plane
        self._loop = loop

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        self._plane.door.submit(requests, reply_to)

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        self._plane.door.cancel(request_ids)

    def models(self) -> tuple[ModelCard, ...]:
        return self._plane.models()

    def engines(self) -> tuple[EngineStatus, ...]:
        return self._on_loop(self._plane.engines)

    def set_policy(self, policy: str | None = None, *, route: str | None = None) -> None:
        self._on_loop(lambda: self._plane.set_policy(policy, route=route))

    def state(self) -> PlaneState:
        return self._on_loop(self._plane.state)

    def knows(self, model: str) -> bool:
        return any(card.name == model for card in self.models())

    def serve(self, specs: Iterable[EngineSpec], *, may_wait: bool = False) -> None:
        """Raise NoEngine for a model that the gateway does not serve."""
        for spec in specs:
            if not self.knows(spec.model):
                raise NoEngine(f"this gateway serves no model {spec.model!r}")

    def add(self, spec: EngineSpec) -> None:
        """Refuse: its engines are those that it was started with."""
        raise _no_cluster()

    def end(self, name: str, *, at_once: bool) -> None:
        """Refuse, as `add`."""
        raise _no_cluster()

    def scale(self, name: str, num_replicas: int) -> None:
        """Refuse, as `add`."""
        raise _no_cluster()

    def specs(self) -> tuple[EngineSpec, ...]:
        """Return nothing: nobody may start them but the gateway."""
        return ()

    def parts_of(self, specs: Iterable[EngineSpec]) -> tuple[Part, ...]:
        """Return nothing: its engines are on no node."""
        return ()

    def serve_again(self) -> None:
        """Leave that to the gateway."""

    def made_room(self, engine_id: EngineId | None = None) -> None:
        """Let nobody wait: nothing is placed."""

    def leave_node(self, node_id: NodeId) -> None:
        """Leave the engines where they are."""

    def end_restarts(self) -> None:
        """Leave that to the gateway."""

    def close(self, timeout_s: float) -> list[str]:
        """Leave the engines to the gateway."""
        return []

    def _on_loop(self, act: Callable[[], A]) -> A:
        """Return what `act` does on the loop; raises what it raises, Overloaded where the loop is busy for long."""

        async def do() -> A:
            return act()

        try:
            return asyncio.run_coroutine_threadsafe(do(), self._loop).result(ANSWER_S)
        except TimeoutError:
            raise Overloaded(f"the gateway has been busy for {ANSWER_S:g} s", "Ask again.") from None


def _no_cluster() -> NoEngine:
    do = "Tend those of a cluster: sage-cluster start, then sage-gateway serve --cluster."
    return NoEngine("the engines of a gateway without a cluster are those that it was started with", do)
