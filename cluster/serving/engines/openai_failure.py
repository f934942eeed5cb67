"""What an OpenAI-compatible server's refusals mean: one table from its words to our errors. Pure."""

import re

import msgspec

from sage.base.errors import (
    ContextOverflow,
    EngineLost,
    InvalidRequest,
    Overloaded,
    RequestFailed,
    SageError,
    UnknownModel,
)

_DEFAULT_RETRY_S = 1.0
_MAX_RETRY_S = 600.0
_MAX_CHARS = 2000
_TOO_LONG = re.compile(
    r"context.{0,20}(length|window|limit)|maximum.{0,20}(context|model).{0,10}len|too many tokens|max_model_len", re.I
)
_LONG_CODES = {"context_length_exceeded", "string_above_max_length"}


class NoSuchPath(RequestFailed):
    """The server serves nothing at the path that was asked."""


class _Words(msgspec.Struct):
    """What stands under `error`, in all the forms that servers have for it."""

    message: str = ""
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


def words_of(data: bytes) -> _Words | None:
    """Return the error that a body or an event holds; None where it holds none."""
    try:
        body = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not isinstance(body, dict):
        return None
    found = body.get("error", body if body.get("object") == "error" else None)
    if found is None and isinstance(body.get("detail"), str):
        found = body["detail"]
    if isinstance(found, str):
        return _Words(found[:_MAX_CHARS])
    if not isinstance(found, dict):
        return None
    fields = {name: value for name, value in found.items() if isinstance(value, str)}
    code = found.get("code")
    return _Words(
        fields.get("message", "")[:_MAX_CHARS],
        fields.get("type"),
        fields.get("param"),
        code if isinstance(code, str | int) else None,
    )


def error_of_answer(status: int, body: bytes, retry_after: str | None, where: str) -> SageError:
    """Return what an answer of `status` and `body` means; `where` names the server, `retry_after` is its header."""
    words = words_of(body) or _Words()
    said = f"{where} answered {status}" + (f": {words.message}" if words.message else "")
    if status in (401, 403):  # its words may quote the key
        return RequestFailed(
            f"{where} refuses us with {status}", "Name the environment variable that holds its key: key_env=NAME"
        )
    if status in (429, 503, 529):
        return Overloaded(said, retry_after_s=_retry_s(retry_after))
    if status == 404 and (words.code == "model_not_found" or "model" in words.message.lower()):
        return UnknownModel(said, "See which models the server lists.", param="model")
    if status in (400, 413, 422):
        return _callers(said, words)
    if status in (404, 405, 501):
        return NoSuchPath(said)
    if status in (502, 504):
        return EngineLost(f"{said}: what stands behind it does not answer", "Try again.")
    return RequestFailed(said)


def error_of_event(data: bytes, where: str) -> SageError | None:
    """Return the error that an event of an answer holds, if it is one."""
    words = words_of(data)
    if words is None:
        return None
    if isinstance(words.code, int) and words.code >= 400:
        return error_of_answer(words.code, data, None, where)
    said = f"{where} failed on the request: {words.message}"
    if words.code in _LONG_CODES or words.type == "invalid_request_error":
        return _callers(said, words)
    if words.code in ("overloaded", "rate_limit_exceeded") or words.type == "overloaded_error":
        return Overloaded(said, retry_after_s=_DEFAULT_RETRY_S)
    if words.code in ("engine_lost", "no_engine"):
        return EngineLost(said, "Try again.")
    return RequestFailed(said)


def _callers(said: str, words: _Words) -> SageError:
    if words.code in _LONG_CODES or _TOO_LONG.search(words.message):
        return ContextOverflow(said, "Shorten the prompt or lower max_tokens.", param=words.param)
    return InvalidRequest(said, param=words.param)


def _retry_s(header: str | None) -> float:
    try:
        seconds = float(header or "")
    except ValueError:  # absent, or a date
        return _DEFAULT_RETRY_S
    return min(max(seconds, 0.0), _MAX_RETRY_S) if seconds == seconds else _DEFAULT_RETRY_S
