"""Sockets that servers listen on, and uvicorn as the house runs it on them. Knows no route."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import uvicorn

from cluster.web.body import AsgiApp
from cluster.web.no_request import NoRequest
from cluster.web.protocol import BoundedProtocol, Limits

SEND_BUFFER_BYTES = 64 * 1024  # the kernel doubles it: with uvicorn's own, at most 256 KiB wait for a stopped reader
KEEP_ALIVE_S = 75  # longer than OpenAI's clients keep an idle connection, or they meet one that is just closing
BACKLOG = 2048
LAST_WRITES_S = 2


class NoAddress(OSError):
    """There is no such host."""


def bound_socket(host: str, port: int) -> socket.socket:
    """Return a socket that is bound, not yet listening; port 0 takes any free one.

    Raises NoAddress, or OSError (EADDRINUSE, EACCES, ...) for a port that cannot be had.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        bound = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise NoAddress(error.errno, error.strerror) from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def url_of(bound: socket.socket) -> str:
    """Return the URL at which a bound socket is reached."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class QuietServer(uvicorn.Server):
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


def config_of(app: AsgiApp, limits: Limits, said_of: Callable[[NoRequest], bytes]) -> uvicorn.Config:
    """Return how uvicorn serves `app`; `said_of`: the JSON body of the answer to what is no request."""
    return uvicorn.Config(
        app,
        http=partial(BoundedProtocol, limits=limits, said_of=said_of),  # type: ignore[arg-type]  # any maker of protocols will do
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
