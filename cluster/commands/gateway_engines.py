"""The engines of a gateway that runs somewhere, and their logs, by its administration API. Knows no table."""

import contextlib
import http.client
import os
import urllib.parse
from typing import TypeVar

import msgspec

from cluster.runtime.control_engine_log import EngineLog, LogMark
from cluster.serving.engines.server_address import key_of_server, server_parts
from sage.base.errors import ClusterUnreachable, ConfigInvalid, InvalidRequest
from sage.flow.runner import EngineStatus

A = TypeVar("A")

_PATIENCE_S = 10.0
_MAX_BYTES = 16 * 1024 * 1024


class _Engines(msgspec.Struct, frozen=True):
    engines: list[EngineStatus]


class _Log(msgspec.Struct, frozen=True):
    data: bytes
    mark: LogMark


class _Refusal(msgspec.Struct, frozen=True):
    class Words(msgspec.Struct, frozen=True):
        message: str

    error: Words


def engines_of_gateway(url: str, key_env: str) -> list[EngineStatus]:
    """Return the engines of the gateway whose administration is at `url`, asked with the key in `key_env`.

    Raises: ConfigInvalid where `url` or the key is none; ClusterUnreachable where nobody answers, or it refuses.
    """
    return _answer(url, key_env, "/admin/v1/engines", _Engines).engines


def log_of_gateway(url: str, key_env: str, engine_id: str, mark: LogMark | None) -> EngineLog:
    """Return what the process of one of its engines wrote after `mark`, or the newest.

    Raises: as `engines_of_gateway`; InvalidRequest where no such engine runs.
    """
    after = "" if mark is None else f"?start={mark.start}&at_byte={mark.at_byte}"
    log = _answer(url, key_env, f"/admin/v1/engines/{urllib.parse.quote(engine_id, safe='')}/log{after}", _Log)
    return EngineLog(0, log.data, log.mark)


def _answer(url: str, key_env: str, path: str, kind: type[A]) -> A:
    parts = server_parts(url)
    if parts is None or parts.path.strip("/") or "@" in parts.netloc:
        raise ConfigInvalid(f"{url!r} is no address of an administration", "For example: http://127.0.0.1:8001")
    do = "Name the variable that holds a key of the scope admin: --key-env NAME."
    if not key_env:
        raise ConfigInvalid("a gateway shows its engines to nobody without a key", do, param="key_env")
    status, body = _asked(parts, path, key_of_server(key_env, os.environ, do))
    if status in (401, 403):
        raise ClusterUnreachable(f"the gateway at {url} refuses us with {status}", "Give a key of the scope admin.")
    if status == 400:
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            raise InvalidRequest(msgspec.json.decode(body, type=_Refusal).error.message)
    if status != 200:
        said = body.decode("utf-8", "replace")[:300]
        do = "Name the address that the gateway calls its administration: see --admin-port."
        raise ClusterUnreachable(f"{url} answered with {status}: {said}", do)
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ClusterUnreachable(f"{url} is no administration of a gateway: {error}", "See --admin-port.") from error


def _asked(parts: urllib.parse.SplitResult, path: str, key: str) -> tuple[int, bytes]:
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_PATIENCE_S)
    try:
        connection.request("GET", path, headers={"authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        return answer.status, answer.read(_MAX_BYTES)
    except (OSError, UnicodeError, http.client.HTTPException) as error:  # UnicodeError: a host that is no name
        at = f"{parts.scheme}://{parts.netloc}"
        raise ClusterUnreachable(f"nobody answers at {at}: {error}", "Start it with --admin-port.") from error
    finally:
        connection.close()
