"""What a client is told when a request fails: one table from error codes to OpenAI's error bodies. Knows no route.

Two rules: a status of 500 says nothing of the inside but the request's id, and every error says whether to try again.
"""

from dataclasses import dataclass

import msgspec

from sage.base.errors import InvalidRequest, SageError

MAX_RETRY_AFTER_S = 60.0


class RequestRefused(InvalidRequest):
    """A request refused at the door. `reason` is OpenAI's `code`; `status` is HTTP's."""

    def __init__(
        self, what: str, do: str = "", *, param: str | None = None, reason: str = "invalid_value", status: int = 400
    ) -> None:
        super().__init__(what, do, param=param)
        self.reason = reason
        self.status = status


class ErrorBody(msgspec.Struct, frozen=True):
    """What stands under `error` in OpenAI's error body."""

    message: str
    type: str
    param: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as HTTP tells it. `sage_code` goes into the header `x-sage-error`; no retry where `is_final`."""

    status: int
    body: ErrorBody
    sage_code: str
    retry_after_s: float | None = None
    is_final: bool = False

    def json(self) -> bytes:
        return msgspec.json.encode({"error": self.body})

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that go with it; `x-should-retry` is what OpenAI's own clients obey."""
        headers = [(b"x-sage-error", self.sage_code.encode())]
        if self.retry_after_s is not None:
            wait_s = min(max(self.retry_after_s, 0.001), MAX_RETRY_AFTER_S)
            headers.append((b"retry-after", b"%d" % max(1, round(wait_s + 0.499))))
            headers.append((b"retry-after-ms", b"%d" % max(1, round(wait_s * 1000))))
        if self.is_final:
            headers.append((b"x-should-retry", b"false"))
        return headers


@dataclass(frozen=True, slots=True)
class _Row:
    """`default_retry_s`: what Retry-After says where the error itself does not know better."""

    status: int
    type: str
    code: str
    param: str | None = None
    default_retry_s: float | None = None
    is_final: bool = False
    says: str | None = None  # instead of the error's own words, which may speak of processes, paths and addresses


_CALLER = "invalid_request_error"
_SERVER = "server_error"
_INTERNAL = _Row(500, _SERVER, "internal_error", says="The server failed on this request")

# 504 for a deadline goes with x-should-retry: false: by its status alone OpenAI's clients would repeat what is late.
# So does 429 for a budget, which is for people to wait for: its words and type are those that OpenAI has for it.
_TABLE = {
    "SAGE-1201": _Row(404, _CALLER, "model_not_found", "model"),
    "SAGE-1202": _Row(400, _CALLER, "invalid_value"),
    "SAGE-1203": _Row(400, _CALLER, "invalid_value"),
    "SAGE-1204": _Row(400, _CALLER, "context_length_exceeded"),
    "SAGE-1301": _Row(500, _SERVER, "flow_failed", says="The flow failed on this request"),
    "SAGE-1309": _Row(422, _CALLER, "not_answered", is_final=True),
    "SAGE-2201": _Row(503, _SERVER, "overloaded", default_retry_s=1.0),
    "SAGE-2202": _Row(503, _SERVER, "no_engine", default_retry_s=5.0),
    "SAGE-2203": _Row(
        503, _SERVER, "engine_lost", default_retry_s=5.0, says="The engine that worked on this request was lost"
    ),
    "SAGE-2204": _Row(503, _SERVER, "no_engine", default_retry_s=5.0, says="The engine of this model did not start"),
    "SAGE-2205": _Row(504, _SERVER, "deadline_exceeded", is_final=True),
    "SAGE-2206": _Row(503, _SERVER, "request_cancelled", default_retry_s=1.0),
    "SAGE-2207": _Row(500, _SERVER, "request_failed", says="The engine failed on this request"),
    "SAGE-2208": _Row(429, "rate_limit_error", "rate_limit_exceeded", default_retry_s=1.0),
    "SAGE-2209": _Row(429, "insufficient_quota", "insufficient_quota", is_final=True),
    "SAGE-2502": _Row(
        503, _SERVER, "cluster_lost", default_retry_s=2.0, says="The cluster behind this server does not answer"
    ),
    "SAGE-9001": _INTERNAL,
}


def problem_of(error: SageError, request_id: str) -> Problem:
    """Return what the client of request `request_id` is told about `error`."""
    if isinstance(error, RequestRefused):
        return Problem(error.status, ErrorBody(_words(error), _CALLER, error.param, error.reason), error.code)
    row = _TABLE.get(error.code, _INTERNAL)
    message = f"{row.says}. If you ask about it, name {request_id}." if row.says else _words(error)
    body = ErrorBody(message, row.type, None if row.says else error.param or row.param, row.code)
    after_s = row.default_retry_s if error.retry_after_s is None else error.retry_after_s
    says_when = row.status in (429, 503) and not row.is_final
    return Problem(row.status, body, error.code, after_s if says_when else None, row.is_final)


def _words(error: SageError) -> str:
    what = error.what if error.what.endswith(".") else f"{error.what}."
    return f"{what} {error.do}".rstrip()
