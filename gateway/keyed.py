"""Where a gateway listens, and who may call it, by the keys there are. Knows no route."""

import socket

from gateway.guard import Guard
from gateway.key_file import key_file
from gateway.server import is_loopback, listen
from sage.base.settings import GatewaySettings


def listen_keyed(settings: GatewaySettings) -> socket.socket:
    """Return the socket at the settings' address; raises ConfigInvalid, also where others reach it without keys."""
    return listen(settings.host, settings.port, has_keys=key_file(settings).current().has_live())


def guard_of(settings: GatewaySettings) -> Guard:
    """Return who looks at the keys of every call, as they are by then."""
    return Guard(key_file(settings).current, is_loopback=is_loopback(settings.host))
