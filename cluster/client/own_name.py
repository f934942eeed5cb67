"""What a user of this machine is called where clusters list their clients."""

import os
import socket


def own_name() -> str:
    """Return by what a head knows this user's clients: for people, not for trust."""
    return f"{os.environ.get('USER') or os.getuid()}@{socket.gethostname()}"
