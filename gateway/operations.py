"""The routes that are not hot, by FastAPI: models, health, metrics, the page. Knows no engine."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from cluster.runtime.control_clients import ChatModel
from gateway.answers import flow_body, model_body
from gateway.page import page
from gateway.refusals import add_refusals
from sage.base.errors import UnknownModel
from sage.base.inference import Inference
from sage.flow.runner import EngineStatus

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
)
READY_RETRY_S = 1


@dataclass(frozen=True, slots=True)
class Shown:
    """What these routes show, each read when it is asked for."""

    inference: Inference
    engines: Callable[[], Sequence[EngineStatus]]
    flows: Callable[[], Sequence[ChatModel]]
    refresh: Callable[[], Awaitable[None]]
    is_draining: Callable[[], bool]
    metrics_text: Callable[[], bytes]
    started_unix_s: int

    def model_bodies(self) -> dict[str, dict[str, object]]:
        """Return OpenAI's `model` by name, flows first."""
        simulated = {model.name for engine in self.engines() if engine.simulated for model in engine.models}
        flows = {flow.name: flow_body(flow, is_simulated=not simulated.isdisjoint(flow.asks)) for flow in self.flows()}
        models = {
            card.name: model_body(card, self.started_unix_s, is_simulated=card.name in simulated)
            for card in self.inference.models()
        }
        return flows | models


async def nothing_to_refresh() -> None:
    """Stand for `refresh` where everything is known at once."""


def operations(shown: Shown) -> FastAPI:
    """Return the application of the cold routes; FastAPI's own pages, which load foreign scripts, stay off."""
    app = FastAPI(title="SAGE", docs_url=None, redoc_url=None, openapi_url=None)
    _add_models(app, shown)
    _add_health(app, shown)

    @app.get("/")
    async def show_page(request: Request) -> HTMLResponse:
        headers = {"content-security-policy": CONTENT_SECURITY_POLICY, "x-content-type-options": "nosniff"}
        await shown.refresh()
        html = page(str(request.base_url).rstrip("/"), shown.inference.models(), shown.engines(), shown.flows())
        return HTMLResponse(html, headers=headers)

    add_refusals(app)
    return app


def _add_models(app: FastAPI, shown: Shown) -> None:
    @app.get("/v1/models")
    async def list_models() -> JSONResponse:
        await shown.refresh()
        return JSONResponse({"object": "list", "data": list(shown.model_bodies().values())})

    @app.get("/v1/models/{name:path}")
    async def show_model(name: str) -> JSONResponse:
        await shown.refresh()
        body = shown.model_bodies().get(name)
        if body is None:
            raise UnknownModel(f"no model {name[:256]!r} is served here", "GET /v1/models lists them.", param="model")
        return JSONResponse(body)


def _add_health(app: FastAPI, shown: Shown) -> None:
    @app.get("/livez")
    @app.get("/health")
    async def say_alive() -> JSONResponse:
        return JSONResponse({"status": "alive"})

    @app.get("/readyz")
    async def say_ready() -> JSONResponse:
        await shown.refresh()
        flows = [flow.name for flow in shown.flows() if flow.is_ready]
        models = [*flows, *(card.name for card in shown.inference.models())]
        starting = [engine.engine_id for engine in shown.engines() if engine.state == "starting"]
        reason = (
            "draining: the server is stopping" if shown.is_draining() else _no_engine(starting) if not models else None
        )
        if reason is None:
            return JSONResponse({"status": "ready", "models": models, **({"starting": starting} if starting else {})})
        headers = {"retry-after": str(READY_RETRY_S)}
        return JSONResponse({"status": "not ready", "reason": reason}, status_code=503, headers=headers)

    @app.get("/metrics")
    async def show_metrics() -> Response:
        return Response(shown.metrics_text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _no_engine(starting: Sequence[str]) -> str:
    return f"no engine is ready; starting: {', '.join(starting)}" if starting else "no engine is ready"
