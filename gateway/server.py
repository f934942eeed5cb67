"""Runs a gateway on a socket until it is told to stop: listen, serve, drain, close. Knows no route and no engine."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from cluster.web.body import AsgiApp
from cluster.web.listening import NoAddress, QuietServer, bound_socket, config_of
from cluster.web.no_request import MAX_HEAD_BYTES, NoRequest
from cluster.web.protocol import Limits
from gateway.entrance import Entrance
from gateway.errors import RequestRefused, problem_of
from sage.base.errors import ConfigInvalid
from sage.base.hosts import is_loopback

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
        return bound_socket(host, port)
    except NoAddress as error:
        raise ConfigInvalid(f"no address {host!r}: {error.strerror}", param="gateway.host") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            flag = f"--{setting.rpartition('.')[2].replace('_', '-')}"
            what, do = f"port {port} of {host} is taken", f"Give another by {flag}; 0 takes a free one."
            raise ConfigInvalid(what, do, param=setting) from error
        raise ConfigInvalid(f"cannot listen on {host}:{port}: {error.strerror}", param=setting) from error


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
    server = QuietServer(config_of(entrance, limits, _said_of), on_ready)
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
    server = QuietServer(config_of(app, DEFAULT_LIMITS, _said_of), listens.set)
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


def _said_of(fault: NoRequest) -> bytes:
    """Return what a client is told whose bytes became no request."""
    match fault:
        case NoRequest.TOO_LARGE:
            error = RequestRefused(
                f"The head is longer than {MAX_HEAD_BYTES} bytes.", reason="head_too_large", status=431
            )
        case NoRequest.NOT_HTTP:
            error = RequestRefused("This is no HTTP request.", reason="invalid_http")
        case NoRequest.CROWDED:
            error = RequestRefused("Too many connections are open.", reason="overloaded", status=503)
    return problem_of(error, "none").json()
