"""A real gateway on a loopback port, on a thread of its own, over whatever `Inference` a test brings."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import TypeVar

import uvloop

from cluster.web.listening import url_of
from cluster.web.protocol import Limits
from gateway.app import create_app
from gateway.entrance import Entrance
from gateway.server import listen, run_server
from gateway.tokenizing import Tokenizers
from sage.base.inference import Inference
from sage.base.settings import GatewaySettings

T = TypeVar("T")
WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Served:
    """A gateway that is up. `call` runs a function on its loop's thread and waits for it."""

    url: str
    entrance: Entrance
    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event

    def call(self, function: Callable[[], T]) -> T:
        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(WAIT_S)

    def begin_stop(self) -> None:
        """Do what SIGTERM does."""
        self.loop.call_soon_threadsafe(self.stop.set)


@contextmanager
def served(
    inference: Inference | Callable[[], Inference],
    settings: GatewaySettings | None = None,
    *,
    drain_s: float = 0.2,
    body_timeout_s: float = WAIT_S,
    limits: Limits = Limits(),  # noqa: B008 - a frozen value
    tokenizers: Tokenizers | None = None,
) -> Iterator[Served]:
    """Serve `inference`, or what it makes on the loop's thread, for as long as the block lasts."""
    bound = listen("127.0.0.1", 0)
    up: list[Served] = []
    ready = threading.Event()

    async def run() -> None:
        made = inference() if callable(inference) else inference
        entrance = create_app(
            made, settings or GatewaySettings(), rng=Random(1), body_timeout_s=body_timeout_s, tokenizers=tokenizers
        )
        stop = asyncio.Event()
        up.append(Served(url_of(bound), entrance, asyncio.get_running_loop(), stop))
        await run_server(entrance, bound, stop, drain_s=drain_s, on_ready=ready.set, limits=limits)

    def main() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())

    thread = threading.Thread(target=main, name="gateway")
    thread.start()
    try:
        assert ready.wait(WAIT_S), "the gateway did not start"
        yield up[0]
    finally:
        if up and not up[0].loop.is_closed():
            up[0].begin_stop()
        thread.join(WAIT_S)
        assert not thread.is_alive(), "the gateway did not stop"
