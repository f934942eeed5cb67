"""Puts the gateway together over any `Inference`. Knows no socket, no engine, and keeps nothing between calls."""

from collections.abc import Iterable
from random import Random

from prometheus_client.registry import Collector

from gateway.bridge import Bridge
from gateway.door import Door
from gateway.meter import Meter
from gateway.operations import operations
from gateway.routes import hot_routes
from sage.base.clock import Clock, SystemClock
from sage.base.inference import Inference
from sage.base.log import Log, get_log
from sage.base.settings import GatewaySettings


def create_app(
    inference: Inference,
    settings: GatewaySettings,
    *,
    clock: Clock | None = None,
    rng: Random | None = None,
    log: Log | None = None,
    collectors: Iterable[Collector] = (),
) -> Door:
    """Return the gateway as an ASGI application; call it on the event loop that will serve it.

    `collectors`: further sources of metrics, shown at /metrics beside the gateway's own.
    """
    clock, rng, log = clock or SystemClock(), rng or Random(), log or get_log(part="gateway")
    meter = Meter(clock, collectors)
    bridge = Bridge(inference, meter)
    hot = hot_routes(bridge, clock, rng, settings.max_body_bytes)
    cold = operations(inference, lambda: door.is_draining, meter.text, int(clock.unix_s()))
    door = Door(bridge, hot, cold, rng, log)
    return door
