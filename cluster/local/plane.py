"""The control plane of this process, started with the first engine that is needed. Knows no flow.

Plane, engines and ZeroMQ are slow to import; flows that ask no model do without them.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import msgspec

from cluster.runtime.states import PlaneState
from sage.base.errors import NoEngine, SageError
from sage.base.ids import EngineId, NodeId, RequestId
from sage.base.inference import Failed, Failure, Inference, ModelCard, ReplyTo, Request
from sage.base.settings import PlaneSettings, TenantSettings
from sage.flow.runner import EngineStatus

if TYPE_CHECKING:
    from cluster.jobs.parts import Part
    from cluster.local.supply import Supply
    from cluster.serving.driver import HeldLink
    from cluster.serving.engines.spec import EngineSpec
    from cluster.serving.manager import PlaneClient


class ClusterPlane(Inference, Protocol):
    """The control plane of a cluster as its head sees it; for any thread."""

    def serve(self, specs: "Iterable[EngineSpec]") -> None:
        """Have these engines run; raises what starting them raises, NoEngine where none is started here."""
        ...

    def knows(self, model: str) -> bool:
        """Say whether engines serve a model of this name, or could."""
        ...

    def engines(self) -> tuple[EngineStatus, ...]: ...

    def set_policy(self, policy: str | None = None, *, route: str | None = None) -> None:
        """Order what waits by another policy, choose engines by another route, at once; raises UnknownPolicy."""
        ...

    def state(self) -> PlaneState:
        """Return the policy and the route in force, and the tenants."""
        ...

    def parts_of(self, specs: "Iterable[EngineSpec]") -> "tuple[Part, ...]":
        """Return what `serve` would place on nodes."""
        ...

    def serve_again(self) -> None:
        """Start engines that were given up, if there is room for them now."""
        ...

    def leave_node(self, node_id: NodeId) -> None:
        """Have the engines of a node begin anew elsewhere, once they have answered what they work on."""
        ...

    def end_restarts(self) -> None:
        """Start no engine again that is lost from now on."""
        ...

    def close(self, timeout_s: float) -> list[str]:
        """End what it has started; return the names of threads left."""
        ...


class EmbeddedPlane:
    """An Inference for any thread; without an engine it refuses everything."""

    def __init__(
        self,
        settings: PlaneSettings,
        engines: "Sequence[EngineSpec]",
        supply: "Callable[[], Supply]",
        tenants: "Sequence[TenantSettings]" = (),
    ) -> None:
        """`engines`: those that are configured, to be served when they are needed. `supply` starts them: made with the
        first."""
        self._settings = settings
        self._tenants = tuple(tenants)
        self._make_supply = supply
        self._supply: Supply | None = None
        self._engines = tuple(engines)
        self._lock = threading.Lock()
        self._client: PlaneClient | None = None
        self._served: dict[EngineId, EngineSpec] = {}

    def serve(self, specs: "Iterable[EngineSpec]") -> None:
        """Start those engines that do not run yet, or not any more; their requests wait until they are ready.

        Raises NoRoom, EngineStartFailed.
        """
        from cluster.serving.engines.spec import engine_ids

        with self._lock:
            self._launch({engine_id: spec for spec in specs for engine_id in engine_ids(spec)})

    def parts_of(self, specs: "Iterable[EngineSpec]") -> "tuple[Part, ...]":
        """Return what `serve` would place on nodes."""
        from cluster.local.engines import parts_of_engines

        return parts_of_engines(specs)

    def serve_again(self) -> None:
        """Start those that were given up, if there is room for them now."""
        with self._lock:
            if self._client is not None:
                for engine_id, spec in self._served.items():
                    with suppress(SageError):  # it stays as it was
                        self._launch({engine_id: spec})

    def _launch(self, wanted: "Mapping[EngineId, EngineSpec]") -> None:
        client = self._started()
        if self._supply is None:
            self._supply = self._make_supply()
        alive = {engine.engine_id for engine in client.engines() if engine.state != "lost"}
        for engine_id, spec in wanted.items():
            if engine_id not in alive:
                held = self._supply.launch(spec, engine_id)
                client.attach(held.link, again=held.again)
                self._served[engine_id] = spec

    def leave_node(self, node_id: NodeId) -> None:
        """Have the engines of a node begin anew elsewhere, once they have answered what they work on."""
        client, supply = self._client, self._supply
        if client is not None and supply is not None:
            client.retire(engine_id for engine_id in tuple(self._served) if supply.node_of(engine_id) == node_id)

    def end_restarts(self) -> None:
        """Start no engine again that is lost from now on."""
        client = self._client
        if client is not None:
            client.end_restarts()

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        client = self._client  # `close` may take it away meanwhile
        if client is None:
            failure = Failure.of(NoEngine("no engine was started in this process"))
            return reply_to([Failed(request.id, failure) for request in requests])
        client.submit(requests, reply_to)

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        client = self._client
        if client is not None:
            client.cancel(request_ids)

    def knows(self, model: str) -> bool:
        """Say whether engines serve a model of this name, or could."""
        from cluster.local.engines import known_models

        return model in known_models(self._engines) or any(card.name == model for card in self.models())

    def models(self) -> tuple[ModelCard, ...]:
        client = self._client
        return client.models() if client is not None else ()

    def engines(self) -> tuple[EngineStatus, ...]:
        client = self._client
        return tuple(map(self._with_node, client.engines())) if client is not None else ()

    def _with_node(self, engine: EngineStatus) -> EngineStatus:
        if self._supply is None or engine.state == "lost":
            return engine
        return msgspec.structs.replace(engine, node=self._supply.node_of(EngineId(engine.engine_id)))

    def set_policy(self, policy: str | None = None, *, route: str | None = None) -> None:
        """Order what waits by another policy, choose engines by another route, at once; raises UnknownPolicy."""
        self._client_now().set_policy(policy, route=route)

    def state(self) -> PlaneState:
        """Return the policy and the route in force, and the tenants."""
        return self._client_now().state()

    def _client_now(self) -> "PlaneClient":
        """Return the plane's client; does not wait for engines that start where there is one."""
        client = self._client
        if client is not None:
            return client
        with self._lock:
            return self._started()

    def release_engines(self) -> "tuple[HeldLink, ...]":
        """Give up all engines, still running, to whoever calls; what was asked of them is answered."""
        with self._lock:
            self._served.clear()
            return self._client.release_links() if self._client is not None else ()

    def close(self, timeout_s: float) -> list[str]:
        """Answer what is open and end the engines' processes; return the names of threads left."""
        with self._lock:
            client, self._client = self._client, None
            return client.close(timeout_s) if client is not None else []

    def _started(self) -> "PlaneClient":
        from cluster.local.engines import known_models
        from cluster.serving.manager import start_control_plane

        if self._client is None:
            self._client = start_control_plane(
                known_models(self._engines),
                policy=self._settings.policy,
                route=self._settings.route,
                admission=self._settings.admission,
                window=self._settings.window,
                max_waiting=self._settings.max_waiting,
                tenants=self._tenants,
                vector_cache_bytes=self._settings.vector_cache_bytes,
            )
        return self._client
