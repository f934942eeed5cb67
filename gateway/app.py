"""Puts the gateway together over any `Inference`. Knows no socket, no engine, and keeps nothing between calls."""

from collections.abc import Callable, Iterable, Sequence
from random import Random

from prometheus_client.registry import Collector

from gateway.bridge import Bridge
from gateway.entrance import Entrance
from gateway.exchange import BodyLimits
from gateway.meter import Meter
from gateway.operations import Shown, operations
from gateway.routes import hot_routes
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
    collectors: Iterable[Collector] = (),
) -> Entrance:
    """Return the gateway as an ASGI application; call it on the event loop that will serve it.

    `engines`: what the page and the list of models say of engines. `collectors`: further metrics to show at /metrics.
    """
    clock, rng, log = clock or SystemClock(), rng or Random(), log or get_log(part="gateway")
    meter = Meter(clock, collectors)
    bridge = Bridge(inference, meter)
    hot = hot_routes(bridge, clock, rng, BodyLimits(settings.max_body_bytes, body_timeout_s))
    cold = operations(Shown(inference, engines, lambda: entrance.is_draining, meter.text, int(clock.unix_s())))
    entrance = Entrance(bridge, hot, cold, rng, log)
    return entrance
