"""Where a gateway and its administration listen, and who may call them, by the keys there are. Knows no route."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from cluster.web.listening import url_of
from gateway.admin import Administered, administration
from gateway.guard import Guard
from gateway.key_file import key_file
from gateway.keys import Scope
from gateway.server import listen, served_beside
from sage.base.errors import ConfigInvalid
from sage.base.hosts import is_loopback
from sage.base.settings import GatewaySettings


def listen_keyed(settings: GatewaySettings) -> socket.socket:
    """Return the socket at the settings' address; raises ConfigInvalid, also where others reach it without keys."""
    return listen(settings.host, settings.port, has_keys=key_file(settings).current().has_live())


def guard_of(settings: GatewaySettings) -> Guard:
    """Return who looks at the keys of every call, as they are by then."""
    return Guard(key_file(settings).current, is_loopback=is_loopback(settings.host))


@asynccontextmanager
async def administered(administered: Administered, settings: GatewaySettings) -> AsyncIterator[str | None]:
    """Serve the administration while the block lasts, where there is to be one; give its URL.

    Raises: ConfigInvalid where the port is taken, or where no key is good for it.
    """
    if settings.admin_port is None:
        yield None
        return
    keys = key_file(settings).current
    if not keys().has_live(Scope.ADMIN):
        do = "Make one: sage-gateway keys add NAME --scope admin."
        raise ConfigInvalid("the administration needs a key of the scope admin", do, param="gateway.admin_port")
    if settings.admin_port == settings.port != 0:  # both may bind, where neither listens yet
        what = f"port {settings.port} is to be the callers' and the administration's"
        raise ConfigInvalid(what, "Give another by --admin-port; 0 takes a free one.", param="gateway.admin_port")
    with listen("127.0.0.1", settings.admin_port, setting="gateway.admin_port") as bound:
        async with served_beside(administration(administered, keys), bound):
            yield url_of(bound)


def say_administered(url: str | None, announce: Callable[[str], None]) -> None:
    """Say by one line where the administration is, where there is one."""
    if url is not None:
        announce(f"Administration at {url}")
