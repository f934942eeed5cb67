"""The administration of a gateway, by FastAPI: policies, tenants, engines, jobs and nodes, while all goes on.

On an address of its own; every call needs a key of the scope admin. Knows no socket.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from fastapi import Depends, FastAPI, Request, Response

from cluster.runtime.control_engine_log import EngineLog, LogMark
from cluster.runtime.states import JobState, NodeState, PlaneState
from cluster.serving.loop import LoopPlane
from cluster.serving.policy import POLICY_NAMES
from cluster.serving.routes import ROUTE_NAMES
from gateway.cluster_models import ClusterModels
from gateway.errors import RequestRefused
from gateway.guard import bearer_of
from gateway.keys import KeyBook, Scope
from gateway.refusals import add_refusals
from sage.base.ids import EngineId
from sage.flow.runner import EngineStatus

MAX_BODY_BYTES = 64 * 1024


class Administered(Protocol):
    """What is administered; for the gateway's loop. All raise ClusterUnreachable where it is elsewhere and silent."""

    async def state(self) -> PlaneState: ...

    async def set_policy(self, policy: str | None, route: str | None) -> PlaneState:
        """Raises UnknownPolicy, and then changes nothing."""
        ...

    async def engines(self) -> Sequence[EngineStatus]: ...

    async def engine_log(self, engine_id: EngineId, mark: LogMark | None) -> EngineLog:
        """Return what its process wrote after `mark`, or the newest; raises InvalidRequest where none runs."""
        ...

    async def jobs(self) -> Sequence[JobState]:
        """Raises RequestRefused where there is no cluster that could have any."""
        ...

    async def nodes(self) -> Sequence[NodeState]:
        """Raises RequestRefused where there is no cluster that could have any."""
        ...


class PlaneHere:
    """Administered: the plane of this process."""

    def __init__(self, plane: LoopPlane) -> None:
        self._plane = plane

    async def state(self) -> PlaneState:
        return self._plane.state()

    async def set_policy(self, policy: str | None, route: str | None) -> PlaneState:
        self._plane.set_policy(policy, route=route)
        return self._plane.state()

    async def engines(self) -> Sequence[EngineStatus]:
        return self._plane.engines()

    async def engine_log(self, engine_id: EngineId, mark: LogMark | None) -> EngineLog:
        return self._plane.engine_log(engine_id, mark)

    async def jobs(self) -> Sequence[JobState]:
        raise _no_cluster("jobs")

    async def nodes(self) -> Sequence[NodeState]:
        raise _no_cluster("nodes")


class PlaneOfCluster:
    """Administered: the plane of a cluster elsewhere."""

    def __init__(self, models: ClusterModels) -> None:
        self._models = models

    async def state(self) -> PlaneState:
        return await self._models.plane_state()

    async def set_policy(self, policy: str | None, route: str | None) -> PlaneState:
        return await self._models.set_policy(policy, route)

    async def engines(self) -> Sequence[EngineStatus]:
        return await self._models.engines_now()

    async def engine_log(self, engine_id: EngineId, mark: LogMark | None) -> EngineLog:
        return await self._models.engine_log(engine_id, mark)

    async def jobs(self) -> Sequence[JobState]:
        return await self._models.jobs()

    async def nodes(self) -> Sequence[NodeState]:
        return await self._models.nodes()


class PolicyWish(msgspec.Struct, forbid_unknown_fields=True):
    """The body of PUT /admin/v1/policies; what is left out stays as it is."""

    policy: str | None = None
    route: str | None = None


def administration(administered: Administered, keys: Callable[[], KeyBook]) -> FastAPI:
    """Return the application; `keys` are those that are good now."""

    async def check(request: Request) -> None:
        key = keys().find(bearer_of(request.headers.raw))
        if key is None:
            raise RequestRefused("This key is not good here.", reason="invalid_api_key", status=401)
        if Scope.ADMIN not in key.scopes:
            raise RequestRefused("This key is not of the scope admin.", reason="no_scope", status=403)

    app = FastAPI(title="SAGE", docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(check)])
    add_refusals(app)

    @app.get("/admin/v1/policies")
    async def show_policies() -> Response:
        return _shown(await administered.state())

    @app.put("/admin/v1/policies")
    async def change_policies(request: Request) -> Response:
        wish = _wish(await _body(request))
        return _shown(await administered.set_policy(wish.policy, wish.route))

    @app.get("/admin/v1/tenants")
    async def show_tenants() -> Response:
        return _json({"tenants": (await administered.state()).tenants})

    @app.get("/admin/v1/engines")
    async def show_engines() -> Response:
        return _json({"engines": await administered.engines()})

    @app.get("/admin/v1/engines/{engine_id:path}/log")
    async def show_log(engine_id: str, request: Request) -> Response:
        log = await administered.engine_log(EngineId(engine_id), _mark(request))
        return _json({"engine_id": engine_id, "data": log.data, "mark": log.mark})

    _add_cluster(app, administered)
    return app


def _add_cluster(app: FastAPI, administered: Administered) -> None:
    @app.get("/admin/v1/jobs")
    async def show_jobs() -> Response:
        return _json({"jobs": await administered.jobs()})

    @app.get("/admin/v1/nodes")
    async def show_nodes() -> Response:
        return _json({"nodes": await administered.nodes()})


def _no_cluster(what: str) -> RequestRefused:
    said = f"This gateway serves engines of its own and no cluster: it has no {what}. See sage-gateway serve --cluster."
    return RequestRefused(said, reason="no_cluster", status=404)


async def _body(request: Request) -> bytes:
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > MAX_BODY_BYTES:
            what = f"The body is longer than {MAX_BODY_BYTES} bytes."
            raise RequestRefused(what, reason="request_too_large", status=413)
    return data


def _mark(request: Request) -> LogMark | None:
    """Return where the question goes on in a log, as the answer before had it; None where it names nothing."""
    said = dict(request.query_params)
    if not said:
        return None
    try:
        return msgspec.convert(said, LogMark, strict=False)
    except msgspec.ValidationError as error:
        what = f"{request.url.query!r} is no mark in a log: {error}."
        raise RequestRefused(what, reason="invalid_mark") from error


def _wish(data: bytes) -> PolicyWish:
    try:
        return msgspec.json.decode(data, type=PolicyWish)
    except msgspec.MsgspecError as error:
        raise RequestRefused(f"The body is no change of policy: {error}.", reason="invalid_json") from error


def _shown(state: PlaneState) -> Response:
    return _json({"policy": state.policy, "route": state.route, "policies": POLICY_NAMES, "routes": ROUTE_NAMES})


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
