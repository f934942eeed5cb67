"""Why a post is not taken, as whoever sent it is told. Knows neither queues nor sockets.

Bodies have the shape of the gateway's: `{"error": {"message", "type", "param", "code"}}`.
"""

import msgspec

from cluster.web.no_request import MAX_HEAD_BYTES, NoRequest

RETRY_AFTER_S = 1


class PostRefused(Exception):
    """`status` is HTTP's, `reason` names the case, `param` the header or line at fault."""

    def __init__(self, status: int, reason: str, what: str, *, param: str | None = None) -> None:
        super().__init__(what)
        self.status = status
        self.reason = reason
        self.param = param

    def json(self) -> bytes:
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {"message": str(self), "type": kind, "param": self.param, "code": self.reason}
        return msgspec.json.encode({"error": error})

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return what goes with it; a connection on which too much is still to come is closed."""
        found = [(b"retry-after", b"%d" % RETRY_AFTER_S)] if self.status in (409, 503) else []
        if self.status == 405:
            found.append((b"allow", b"POST"))
        if self.status == 401:
            found.append((b"www-authenticate", b"Bearer"))
        return [*found, (b"connection", b"close")] if self.status in (408, 413) else found


def said_of(fault: NoRequest) -> bytes:
    """Return what a client is told whose bytes became no request."""
    match fault:
        case NoRequest.TOO_LARGE:
            return PostRefused(431, "head_too_large", f"The head is longer than {MAX_HEAD_BYTES} bytes.").json()
        case NoRequest.NOT_HTTP:
            return PostRefused(400, "invalid_http", "This is no HTTP request.").json()
        case NoRequest.CROWDED:
            return PostRefused(503, "overloaded", "Too many connections are open; try again later.").json()
