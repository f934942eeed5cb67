"""The control plane of this process, started with the first engine that is needed. Knows no flow.

Plane, engines and ZeroMQ are slow to import; flows that ask no model do without them.
"""

import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from sage.base.errors import NoEngine
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Failed, Failure, Inference, ModelCard, ReplyTo, Request
from sage.base.settings import PlaneSettings
from sage.flow.runner import EngineStatus

if TYPE_CHECKING:
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

    def close(self, timeout_s: float) -> list[str]:
        """End what it has started; return the names of threads left."""
        ...


class EmbeddedPlane:
    """An Inference for any thread; without an engine it refuses everything."""

    def __init__(self, settings: PlaneSettings, engines: "Sequence[EngineSpec]") -> None:
        """`engines`: those that are configured, to be served when they are needed."""
        self._settings = settings
        self._engines = tuple(engines)
        self._lock = threading.Lock()
        self._client: PlaneClient | None = None
        self._served: set[EngineId] = set()

    def serve(self, specs: "Iterable[EngineSpec]") -> None:
        """Start those engines that do not run yet, or not any more; their requests wait until they are ready."""
        from cluster.serving.engines.launch import launch
        from cluster.serving.engines.spec import engine_ids

        with self._lock:
            client = self._started()
            self._served -= {EngineId(engine.engine_id) for engine in client.engines() if engine.state == "lost"}
            for spec in specs:
                for engine_id in engine_ids(spec):
                    if engine_id not in self._served:
                        client.attach(launch(spec, engine_id))
                        self._served.add(engine_id)

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
        return client.engines() if client is not None else ()

    def set_policy(self, name: str) -> None:
        """Order what waits by another policy, at once; raises UnknownPolicy."""
        with self._lock:
            self._started().set_policy(name)

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
                max_waiting=self._settings.max_waiting,
            )
        return self._client
