"""Puts the gateway together over any `Inference`. Knows no socket, no engine, and keeps nothing between calls."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from random import Random

from prometheus_client.registry import Collector

from cluster.runtime.control_clients import ChatModel
from cluster.web.body import BodyLimits
from gateway.bridge import Bridge
from gateway.entrance import Entrance
from gateway.guard import Guard
from gateway.meter import Meter, OnEnded
from gateway.operations import Shown, nothing_to_refresh, operations
from gateway.routes import hot_routes
from gateway.tokenizing import Tokenizers
from sage.base.clock import Clock, SystemClock
from sage.base.inference import Inference
from sage.base.log import Log, get_log
from sage.base.settings import GatewaySettings
from sage.flow.runner import EngineStatus


def create_app(
    inference: Inference,
    settings: GatewaySettings,
    *,
    clock: Clock | None = None,
    rng: Random | None = None,
    log: Log | None = None,
    body_timeout_s: float = 30.0,
    engines: Callable[[], Sequence[EngineStatus]] = tuple,
    flows: Callable[[], Sequence[ChatModel]] = tuple,
    refresh: Callable[[], Awaitable[None]] = nothing_to_refresh,
    on_ended: OnEnded = lambda *_: None,
    collectors: Iterable[Collector] = (),
    guard: Guard | None = None,
    tokenizers: Tokenizers | None = None,
) -> Entrance:
    """Return the gateway as an ASGI application; call it on the event loop that will serve it.

    `engines` and `flows`: what the page and the list of models say of them; `refresh` is awaited before they are read.
    `on_ended` is told of every request that has ended. `collectors`: further metrics to show at /metrics.
    `guard`: who may call; by default everybody, as one tenant. `tokenizers` answer about tokens; None: nobody does.
    """
    clock, rng, log = clock or SystemClock(), rng or Random(), log or get_log(part="gateway")
    meter = Meter(clock, collectors, on_ended)
    bridge = Bridge(inference, meter)
    hot = hot_routes(bridge, clock, rng, BodyLimits(settings.max_body_bytes, body_timeout_s), tokenizers)
    cold = operations(
        Shown(inference, engines, flows, refresh, lambda: entrance.is_draining, meter.text, int(clock.unix_s()))
    )
    entrance = Entrance(bridge, hot, cold, rng, log, guard or Guard())
    return entrance
