"""Serves engines until told to stop: the plane and the gateway on one event loop. Knows no model and no flag."""

import asyncio
import gc
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import uvloop

from cluster.serving.closing import close_links
from cluster.serving.configured import plane_from_settings
from cluster.serving.driver import HeldLink
from cluster.serving.loop import LoopPlane
from cluster.web.listening import url_of
from gateway.admin import PlaneHere
from gateway.app import create_app
from gateway.ended import EndedRequests
from gateway.entrance import Entrance
from gateway.flows_beside import FlowsBeside
from gateway.keyed import administered, guard_of, listen_keyed, say_administered
from gateway.plane_metrics import PlaneCollector
from gateway.ready import WatchedLink
from gateway.server import run_server
from sage.base.errors import Overloaded
from sage.base.inference import Last, Request
from sage.base.settings import Settings
from sage.flow.graph import Graph
from sage.flow.turns import chats_of

DRAIN_S = 10.0
CLOSE_S = 2.0


def serve(
    engines: Sequence[HeldLink],
    settings: Settings,
    *,
    announce: Callable[[str], None] = print,
    bound: socket.socket | None = None,
    flow: Graph | None = None,
    drain_s: float = DRAIN_S,
) -> None:
    """Serve `engines` until SIGTERM or SIGINT; then drain, and end their processes. Blocks.

    `engines`: links just launched, or, with their `info`, taken over from another plane (`release_links`); they are
    owned by this call, however it ends. `bound`: a socket from `listen`; by default one at the settings' address.
    `flow`: one that is asked as a model, to be run beside the gateway on these engines.
    `announce` gets one line when every engine is ready, and the flow runs. A second signal ends what is open at once.

    Raises: ConfigInvalid for an address that cannot be used; what an engine says if it does not become ready.
    """
    try:
        if bound is None:
            bound = listen_keyed(settings.gateway)
        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    except BaseException:
        close_links(engines, CLOSE_S)
        raise
    with runner:
        runner.run(
            serve_on_loop(engines, settings, bound, asyncio.Event(), announce=announce, flow=flow, drain_s=drain_s)
        )


async def serve_on_loop(
    engines: Sequence[HeldLink],
    settings: Settings,
    bound: socket.socket,
    stop: asyncio.Event,
    *,
    announce: Callable[[str], None],
    flow: Graph | None = None,
    drain_s: float = DRAIN_S,
) -> None:
    """Do as `serve` on the running loop, until `stop` is set too."""
    watched = [WatchedLink(held.link, is_ready=held.info is not None) for held in engines]
    known = dict.fromkeys(model for link in watched for model in link.models)
    plane = LoopPlane(
        plane_from_settings(known, settings.plane, settings.tenants),
        asyncio.get_running_loop(),
        vector_cache_bytes=settings.plane.vector_cache_bytes,
    )
    asked = FlowsBeside(plane)
    entrance = _entrance(plane, asked, settings)
    for held, link in zip(engines, watched, strict=True):
        plane.attach(link, held.info, held.again)
    serving = asyncio.create_task(run_server(entrance, bound, stop, drain_s=drain_s))
    try:
        with stop_signals(lambda: begin_stop(stop, entrance)):
            async with administered(PlaneHere(plane), settings.gateway) as admin_url:
                if await _are_ready(watched, stop, serving):
                    if flow is not None:
                        await asked.start(flow, settings)
                    gc.collect()
                    gc.freeze()  # what is loaded now stays: the collector need not walk it again
                    announce(_ready_line([*chats_of(flow), *known] if flow else known, plane, url_of(bound)))
                    say_administered(admin_url, announce)
                await serving
    finally:
        stop.set()
        await asyncio.wait((serving,))
        await asked.close()
        await plane.close(CLOSE_S)


def _entrance(plane: LoopPlane, asked: FlowsBeside, settings: Settings) -> Entrance:
    ended = EndedRequests()

    def count(request: Request, last: Last) -> None:
        if asked.is_flow(request.model):  # the plane counts the others by itself
            ended.count(request, last)

    return create_app(
        asked,
        settings.gateway,
        engines=plane.engines,
        flows=asked.flows,
        refresh=asked.refresh,
        on_ended=count,
        collectors=[PlaneCollector(plane.view, ended)],
        guard=guard_of(settings.gateway),
        tokenizers=asked,
    )


async def _are_ready(links: Sequence[WatchedLink], stop: asyncio.Event, serving: asyncio.Task[None]) -> bool:
    """Wait for every engine; False where the gateway stops first. Raises what an engine failed with."""
    ready = asyncio.create_task(_all_ready(links))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((ready, stopping, serving), return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            return False
        ready.result()
        return True
    finally:
        ready.cancel()
        stopping.cancel()


async def _all_ready(links: Sequence[WatchedLink]) -> None:
    await asyncio.gather(*(link.ready for link in links))


def begin_stop(stop: asyncio.Event, entrance: Entrance) -> None:
    """Have the server drain; the second time, end what is open at once."""
    if stop.is_set():
        entrance.bridge.fail_all(Overloaded("the server was stopped", "Ask again."))
    stop.set()


@contextmanager
def stop_signals(on_signal: Callable[[], None]) -> Iterator[None]:
    """Call `on_signal` on the running loop; on another thread than the main one signals are not ours."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _ready_line(models: Iterable[str], plane: LoopPlane, url: str) -> str:
    simulated = {model.name for engine in plane.engines() if engine.simulated for model in engine.models}
    names = [f"{model} (simulated)" if model in simulated else model for model in models]
    return f"Serving {', '.join(names)} at {url}"
