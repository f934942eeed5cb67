"""Runs a gateway on a socket until it is told to stop: listen, serve, drain, close. Knows no route and no engine."""

import asyncio
import errno
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import uvicorn

from gateway.entrance import Entrance
from gateway.exchange import AsgiApp
from gateway.protocol import BoundedProtocol, Limits
from sage.base.errors import ConfigInvalid

SEND_BUFFER_BYTES = 64 * 1024  # the kernel doubles it: with uvicorn's own, at most 256 KiB wait for a stopped reader
KEEP_ALIVE_S = 75  # longer than OpenAI's clients keep an idle connection, or they meet one that is just closing
BACKLOG = 2048
LAST_WRITES_S = 2
DEFAULT_LIMITS = Limits()


def listen(host: str, port: int, *, has_keys: bool = False, setting: str = "gateway.port") -> socket.socket:
    """Return a socket that is bound, not yet listening; port 0 takes any free one. `has_keys`: callers need one.

    `setting`: where the port is from.

    Raises: ConfigInvalid for an address that is not this machine's, is taken, or reaches beyond it without keys.
    """
    if not has_keys and not is_loopback(host):
        what = f"{host!r} can be reached from other machines, and there are no keys to keep strangers out"
        do = "Make one (sage-gateway keys add TENANT), or listen on 127.0.0.1."
        raise ConfigInvalid(what, do, param="gateway.host")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        bound = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigInvalid(f"no address {host!r}: {error.strerror}", param="gateway.host") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            flag = f"--{setting.rpartition('.')[2].replace('_', '-')}"
            what, do = f"port {port} of {host} is taken", f"Give another by {flag}; 0 takes a free one."
            raise ConfigInvalid(what, do, param=setting) from error
        raise ConfigInvalid(f"cannot listen on {host}:{port}: {error.strerror}", param=setting) from error
    return bound


def is_loopback(host: str) -> bool:
    """Say whether nobody but this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def url_of(bound: socket.socket) -> str:
    """Return the URL at which a bound socket is reached."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers (who started it decides when it stops), and telling when it listens."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run_server(
    entrance: Entrance,
    bound: socket.socket,
    stop: asyncio.Event,
    *,
    drain_s: float,
    on_ready: Callable[[], None] = lambda: None,
    limits: Limits = DEFAULT_LIMITS,
) -> None:
    """Serve `entrance` on `bound` until `stop` is set, then drain for at most `drain_s`; closes the socket.

    While it drains, new connections are still taken, so that /readyz can say so and calls get a typed 503.
    """
    server = _Server(_config(entrance, limits), on_ready)
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        await entrance.drain(drain_s)
    finally:
        stopping.cancel()
        server.should_exit = True
        await serving


@asynccontextmanager
async def served_beside(app: AsgiApp, bound: socket.socket) -> AsyncIterator[None]:
    """Serve `app` too while the block lasts; closes the socket. Raises what keeps it from listening."""
    listens = asyncio.Event()
    server = _Server(_config(app, DEFAULT_LIMITS), listens.set)
    serving, listening = asyncio.create_task(server.serve(sockets=[bound])), asyncio.create_task(listens.wait())
    try:
        await asyncio.wait((serving, listening), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        yield
    finally:
        listening.cancel()
        server.should_exit = True
        await serving


def _config(app: AsgiApp, limits: Limits) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=partial(BoundedProtocol, limits=limits),  # type: ignore[arg-type]  # any maker of protocols will do
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=LAST_WRITES_S,
    )
