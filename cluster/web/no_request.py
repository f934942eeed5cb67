"""What came and became no request: why, and the most of a head that anyone needs. Knows no socket."""

from enum import Enum

MAX_HEAD_BYTES = 16 * 1024


class NoRequest(Enum):
    """Why what came is answered before it became a request; the value is the status line's end."""

    TOO_LARGE = b"431 Request Header Fields Too Large"
    NOT_HTTP = b"400 Bad Request"
    CROWDED = b"503 Service Unavailable"
