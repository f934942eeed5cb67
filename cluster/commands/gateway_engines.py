"""The engines of a gateway that runs somewhere, by its administration API. Knows no table."""

import http.client
import os
import urllib.parse

import msgspec

from cluster.serving.engines.server_address import key_of_server, server_parts
from sage.base.errors import ClusterUnreachable, ConfigInvalid
from sage.flow.runner import EngineStatus

_PATIENCE_S = 10.0
_MAX_BYTES = 16 * 1024 * 1024


class _Engines(msgspec.Struct, frozen=True):
    engines: list[EngineStatus]


def engines_of_gateway(url: str, key_env: str) -> list[EngineStatus]:
    """Return the engines of the gateway whose administration is at `url`, asked with the key in `key_env`.

    Raises: ConfigInvalid where `url` or the key is none; ClusterUnreachable where nobody answers, or it refuses.
    """
    parts = server_parts(url)
    if parts is None or parts.path.strip("/") or "@" in parts.netloc:
        raise ConfigInvalid(f"{url!r} is no address of an administration", "For example: http://127.0.0.1:8001")
    do = "Name the variable that holds a key of the scope admin: --key-env NAME."
    if not key_env:
        raise ConfigInvalid("a gateway shows its engines to nobody without a key", do, param="key_env")
    status, body = _asked(parts, key_of_server(key_env, os.environ, do))
    if status in (401, 403):
        raise ClusterUnreachable(f"the gateway at {url} refuses us with {status}", "Give a key of the scope admin.")
    if status != 200:
        said = body.decode("utf-8", "replace")[:300]
        do = "Name the address that the gateway calls its administration: see --admin-port."
        raise ClusterUnreachable(f"{url} answered with {status}: {said}", do)
    try:
        return msgspec.json.decode(body, type=_Engines).engines
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ClusterUnreachable(f"{url} is no administration of a gateway: {error}", "See --admin-port.") from error


def _asked(parts: urllib.parse.SplitResult, key: str) -> tuple[int, bytes]:
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_PATIENCE_S)
    try:
        connection.request("GET", "/admin/v1/engines", headers={"authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        return answer.status, answer.read(_MAX_BYTES)
    except (OSError, UnicodeError, http.client.HTTPException) as error:  # UnicodeError: a host that is no name
        at = f"{parts.scheme}://{parts.netloc}"
        raise ClusterUnreachable(f"nobody answers at {at}: {error}", "Start it with --admin-port.") from error
    finally:
        connection.close()
