"""The control plane of this process, started with the first engine that is needed. Knows no flow.

Plane, engines and ZeroMQ are slow to import; flows that ask no model do without them.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import msgspec

from cluster.runtime.states import PlaneState
from sage.base.errors import EngineLost, InvalidRequest, NameTaken, NoRoom, SageError
from sage.base.ids import EngineId, NodeId, RequestId
from sage.base.inference import Failed, Failure, Inference, ModelCard, ReplyTo, Request
from sage.base.log import get_log
from sage.base.settings import PlaneSettings, TenantSettings
from sage.flow.runner import EngineStatus

if TYPE_CHECKING:
    from cluster.jobs.parts import Part
    from cluster.local.supply import Supply
    from cluster.serving.driver import Again, HeldLink
    from cluster.serving.engines.link import EngineLink
    from cluster.serving.engines.spec import EngineSpec
    from cluster.serving.manager import PlaneClient


class ClusterPlane(Inference, Protocol):
    """The control plane of a cluster as its head sees it; for any thread."""

    def serve(self, specs: "Iterable[EngineSpec]", *, may_wait: bool = False) -> None:
        """Have these engines run; raises what starting them raises, NoEngine where none is started here.

        Where they `may_wait`, one that finds no room is started as soon as there is some.
        """
        ...

    def add(self, spec: "EngineSpec") -> None:
        """Have an engine run from now on; where there is no room, once there is. Raises NameTaken, NoEngine."""
        ...

    def end(self, name: str, *, at_once: bool) -> None:
        """End an engine, or all replicas of one, for good: once they have answered what they work on, or `at_once`.

        Raises InvalidRequest where there is none, NoEngine where none is started here.
        """
        ...

    def scale(self, name: str, num_replicas: int) -> None:
        """Have so many replicas of an engine run; raises as `end`."""
        ...

    def specs(self) -> "tuple[EngineSpec, ...]":
        """Return the engines that were started, or wait for room."""
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

    def made_room(self, engine_id: EngineId | None = None) -> None:
        """Know that nothing of an engine is left, or None: of a job. Others may have waited for its place."""
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
        self._waiting: dict[EngineId, tuple[EngineSpec, str]] = {}
        self._ended: set[EngineId] = set()

    def serve(self, specs: "Iterable[EngineSpec]", *, may_wait: bool = False) -> None:
        """Start those engines that do not run yet, or not any more; their requests wait until they are ready.

        Where they `may_wait`, those without room do, and those that were ended on purpose are left.

        Raises NoRoom, EngineStartFailed.
        """
        from cluster.serving.engines.spec import engine_ids

        with self._lock:
            wanted = {engine_id: spec for spec in specs for engine_id in engine_ids(spec)}
            if may_wait:
                self._launch_or_wait({id: spec for id, spec in wanted.items() if id not in self._ended})
            else:
                self._launch(wanted)

    def add(self, spec: "EngineSpec") -> None:
        """Start an engine; where there is no room, it waits for some. Raises NameTaken, EngineStartFailed."""
        from cluster.serving.engines.spec import engine_ids

        with self._lock:
            names = {name for engine_id, known in self._wanted().items() for name in (engine_id, known.name)}
            for name in (spec.name, *engine_ids(spec)):
                if name in names:
                    what = f"there is an engine {name!r} already"
                    raise NameTaken(what, "Give this one another name: name=NAME.", param="name")
            self._launch_or_wait(dict.fromkeys(engine_ids(spec), spec))

    def end(self, name: str, *, at_once: bool) -> None:
        """End an engine, or all replicas of one, for good; raises InvalidRequest where there is none."""
        with self._lock:
            self._end(self._named(name), at_once=at_once)

    def scale(self, name: str, num_replicas: int) -> None:
        """Have so many replicas of an engine run; raises InvalidRequest where there is none."""
        from cluster.local.replicas import scaled

        with self._lock:
            present = self._named(name)
            spec = next(iter(present.values()))
            if name != spec.name:
                raise InvalidRequest(f"{name!r} is a replica of the engine {spec.name!r}", "Scale that.", param="name")
            begin, end = scaled(name, tuple(present), num_replicas, taken=self._wanted())
            self._end(dict.fromkeys(end, spec), at_once=False)
            self._launch_or_wait(dict.fromkeys(begin, spec))

    def specs(self) -> "tuple[EngineSpec, ...]":
        """Return the engines that were started, or wait for room."""
        return tuple({spec.name: spec for spec in self._wanted().values()}.values())

    def _wanted(self) -> "dict[EngineId, EngineSpec]":
        return {**self._served, **{engine_id: spec for engine_id, (spec, _) in tuple(self._waiting.items())}}

    def _named(self, name: str) -> "dict[EngineId, EngineSpec]":
        wanted = self._wanted()
        found = {engine_id: spec for engine_id, spec in wanted.items() if name in (engine_id, spec.name)}
        if not found:
            names = ", ".join(dict.fromkeys(spec.name for spec in wanted.values())) or "none"
            raise InvalidRequest(f"no engine is named {name!r}", f"There are: {names}.", param="name")
        return found

    def _end(self, engines: "Mapping[EngineId, EngineSpec]", *, at_once: bool) -> None:
        from cluster.serving.events import RETIRE_S

        for engine_id in engines:
            self._served.pop(engine_id, None)
            self._waiting.pop(engine_id, None)
            self._ended.add(engine_id)
        if self._client is not None:
            self._client.retire(engines, within_s=0.0 if at_once else RETIRE_S, for_good=True)

    def parts_of(self, specs: "Iterable[EngineSpec]") -> "tuple[Part, ...]":
        """Return what `serve` would place on nodes."""
        from cluster.local.engines import parts_of_engines

        return parts_of_engines(specs)

    def serve_again(self) -> None:
        """Start those that were given up, if there is room for them now."""
        with self._lock:
            self._try(self._wanted())

    def made_room(self, engine_id: EngineId | None = None) -> None:
        """Start what waits for room, unless the engine that is gone comes back to its place."""
        with self._lock:
            if engine_id is None or engine_id in self._ended:
                self._try({waiting: spec for waiting, (spec, _) in self._waiting.items()})

    def _launch(self, wanted: "Mapping[EngineId, EngineSpec]") -> None:
        client = self._started()
        if self._supply is None:
            self._supply = self._make_supply()
        alive = {engine.engine_id for engine in client.engines() if engine.state != "lost"}
        for engine_id, spec in wanted.items():
            if engine_id in alive and engine_id in self._ended:
                raise NoRoom(f"the engine {engine_id} that was ended before still works", "Try again once it has left.")
            if engine_id not in alive:
                held = self._supply.launch(spec, engine_id)
                self._served[engine_id] = spec
                self._ended.discard(engine_id)
                client.attach(held.link, again=self._again(engine_id, held))
            self._waiting.pop(engine_id, None)

    def _launch_or_wait(self, wanted: "Mapping[EngineId, EngineSpec]") -> None:
        for engine_id, spec in wanted.items():
            try:
                self._launch({engine_id: spec})
            except NoRoom as error:
                waits = (spec, error.what)
                if self._waiting.get(engine_id) != waits:
                    get_log().warning("engine waits for room", engine_id=engine_id, why=error.what)
                self._waiting[engine_id] = waits

    def _try(self, engines: "Mapping[EngineId, EngineSpec]") -> None:
        if self._client is not None:  # else it was closed
            for engine_id, spec in engines.items():
                with suppress(SageError):  # it stays as it was
                    self._launch_or_wait({engine_id: spec})

    def _again(self, engine_id: EngineId, held: "HeldLink") -> "Again | None":
        """Return how an engine is started anew, unless it was ended on purpose meanwhile."""
        begin_again = held.again
        if begin_again is None:
            return None

        def again() -> "EngineLink":
            link = begin_again()
            if engine_id in self._ended:
                link.close(0.0)
                raise EngineLost(f"engine {engine_id} was ended on purpose")
            return link

        return again

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
            return reply_to([Failed(request.id, Failure.of(self._absent(request.model))) for request in requests])
        client.submit(requests, reply_to)

    def _absent(self, model: str) -> SageError:
        from cluster.local.engines import known_models
        from cluster.serving.admission import absent

        return absent(model, known_models(self._engines))

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
        from cluster.local.engines import status_of_waiting

        client = self._client
        waiting = tuple(self._waiting.items())
        gone = self._ended.union(engine_id for engine_id, _ in waiting)
        seen = client.engines() if client is not None else ()
        shown = [engine for engine in seen if engine.state != "lost" or engine.engine_id not in gone]
        return (*map(self._with_node, shown), *(status_of_waiting(engine_id, *why) for engine_id, why in waiting))

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
            self._waiting.clear()
            return self._client.release_links() if self._client is not None else ()

    def close(self, timeout_s: float) -> list[str]:
        """Answer what is open and end the engines' processes; return the names of threads left."""
        with self._lock:
            client, self._client = self._client, None
            return client.close(timeout_s) if client is not None else []

    def _started(self) -> "PlaneClient":
        from cluster.local.engines import known_models
        from cluster.serving.configured import plane_from_settings
        from cluster.serving.manager import start_control_plane

        if self._client is None:
            plane = plane_from_settings(known_models(self._engines), self._settings, self._tenants)
            self._client = start_control_plane(plane, vector_cache_bytes=self._settings.vector_cache_bytes)
        return self._client
