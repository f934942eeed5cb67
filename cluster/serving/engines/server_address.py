"""Where a server is, and the key that it wants, as users write them. Knows no socket and no API."""

import urllib.parse
from collections.abc import Mapping

from sage.base.errors import ConfigInvalid


def server_parts(url: str) -> urllib.parse.SplitResult | None:
    """Return the parts of the URL of a server; None where it is none.

    >>> server_parts("http://h:8000/v1").port
    8000
    >>> [server_parts(url) for url in ("h:80", "http://h:99999", "http://[::1", "http://h?x=1")]
    [None, None, None, None]
    """
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port  # raises where it is no number of a port
    except ValueError:
        return None
    is_server = parts.scheme in ("http", "https") and parts.hostname and not parts.query and not parts.fragment
    return parts if is_server else None


def key_of_server(key_env: str, environ: Mapping[str, str], do: str) -> str:
    """Return what the variable `key_env` holds; raises ConfigInvalid, advising to `do`, where that can be no key."""
    key = environ.get(key_env, "")
    if not key:
        raise ConfigInvalid(f"the environment variable {key_env} is not set", do, param="key_env")
    if not (key.isascii() and key.isprintable()):
        what = f"the environment variable {key_env} holds no key: it has a line's end or another sign that no key has"
        raise ConfigInvalid(what, do, param="key_env")
    return key
