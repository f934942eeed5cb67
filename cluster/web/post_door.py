"""The ASGI application to which a flow's records are posted: who may, what came, what is answered. Knows no thread.

One path, one method. 202 says that the whole post was taken; what that is worth is up to whoever takes.
"""

import hmac
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from hashlib import sha256
from urllib.parse import urlsplit

import msgspec

from cluster.runtime.posts import KeptPost
from cluster.web.body import (
    AsgiMessage,
    BodyLate,
    BodyLimits,
    BodyTooLong,
    ClientGone,
    Receive,
    Scope,
    Send,
    whole_body,
)
from cluster.web.post_bodies import is_lines, unpacked
from cluster.web.post_refusals import PostRefused
from cluster.web.waiting_posts import key_of
from sage.base.clock import Clock
from sage.base.hosts import is_local
from sage.base.log import get_log
from sage.flow.connectors.http_source import HttpSource

BODY_S = 30.0
MAX_READING_BYTES = 64 * 2**20
"""Of bodies that are being read, all together."""
_MAX_KEY_BYTES = 255

Headers = dict[bytes, bytes]


class PostDoor:
    """Used on the thread of one event loop."""

    def __init__(
        self,
        source: HttpSource,
        key: str | None,
        take: Callable[[KeptPost], Awaitable[int]],
        *,
        check_room: Callable[[int], None],
        clock: Clock,
        body_s: float = BODY_S,
    ) -> None:
        """`take`: keeps a post and returns of how many records it is; both it and `check_room` raise PostRefused."""
        self._source = source
        self._key_sha256 = sha256(key.encode()).digest() if key is not None else None
        self._take = take
        self._check_room = check_room
        self._clock = clock
        self._limits = BodyLimits(source.max_body_bytes, body_s)
        self._reading_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            num_records = await self._taken(scope, receive)
            await _answer(send, 202, msgspec.json.encode({"records": num_records}), [])
        except ClientGone:
            return
        except PostRefused as refused:
            await _answer(send, refused.status, refused.json(), refused.headers())
        except Exception:  # noqa: BLE001 - the last handler: whoever sent it is told, and the log knows why
            get_log(source=self._source.name).exception("a post failed")
            failed = PostRefused(500, "internal_error", "The source failed on this request; its log says why.")
            await _answer(send, failed.status, failed.json(), failed.headers())

    async def _taken(self, scope: Scope, receive: Receive) -> int:
        headers = _headers_of(scope["headers"])
        self._check_caller(headers)
        if scope["path"] != f"/{self._source.name}":
            raise PostRefused(404, "not_found", f"Nothing is here; post to /{self._source.name}.")
        if scope["method"] != "POST":
            raise PostRefused(405, "method_not_allowed", "Records are posted: use POST.")
        lines = is_lines(self._source, headers.get(b"content-type", b"").decode("latin-1"))
        key = _checked_key(headers.get(b"idempotency-key", b""))
        body = await self._body(headers, receive)
        is_whole = self._source.records == "requests"
        post = KeptPost(
            number=0,
            received_unix_s=self._clock.unix_s(),
            is_lines=lines,
            body=body,
            headers=self._kept_headers(headers) if is_whole else {},
            query=scope["query_string"].decode("latin-1") if is_whole else "",
            key=key_of(key, body),
        )
        return await self._take(post)

    def _check_caller(self, headers: Headers) -> None:
        """Raise PostRefused: 401 without the key; 403 where there is none and a web page of others may have sent it."""
        if self._key_sha256 is not None:
            scheme, _, shown = headers.get(b"authorization", b"").partition(b" ")
            if scheme.lower() == b"bearer" and hmac.compare_digest(sha256(shown.strip()).digest(), self._key_sha256):
                return
            raise PostRefused(
                401, "invalid_api_key", "A key is needed: authorization: Bearer KEY.", param="authorization"
            )
        host = headers.get(b"host", b"").decode("latin-1")
        if not is_local(host):
            what = f"{host[:256]!r} is no name of this machine; call 127.0.0.1 or localhost."
            raise PostRefused(403, "host_not_allowed", what, param="host")
        origin = headers.get(b"origin")
        if origin is not None and urlsplit(origin.decode("latin-1")).netloc != host:
            raise PostRefused(403, "origin_not_allowed", "Web pages may post with a key only.", param="origin")

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        length = headers.get(b"content-length", b"")
        len_bytes = int(length) if length.isdigit() else None
        if len_bytes is None or len_bytes <= self._limits.max_bytes:
            self._check_room(len_bytes or 0)
        with self._counted(receive) as counted:
            body = bytes(await self._read(counted, len_bytes))
        encoding = headers.get(b"content-encoding", b"").decode("latin-1").strip().lower()
        return unpacked(body, encoding, self._limits.max_bytes)

    async def _read(self, receive: Receive, len_bytes: int | None) -> bytearray:
        try:
            return await whole_body(receive, self._limits, len_bytes)
        except BodyTooLong:
            what = f"The body is longer than {self._limits.max_bytes} bytes."
            raise PostRefused(413, "request_too_large", what) from None
        except BodyLate:
            what = f"The body did not come within {self._limits.timeout_s:g} s."
            raise PostRefused(408, "body_timeout", what) from None

    @contextmanager
    def _counted(self, receive: Receive) -> Iterator[Receive]:
        """Give a `receive` that refuses to go on (503) where all bodies that are being read have too many bytes."""
        own_bytes = 0

        async def counted() -> AsgiMessage:
            nonlocal own_bytes
            message = await receive()
            len_bytes = len(message.get("body", b""))
            own_bytes += len_bytes
            self._reading_bytes += len_bytes
            if self._reading_bytes > MAX_READING_BYTES and own_bytes < self._reading_bytes:
                raise PostRefused(503, "overloaded", "Too many long requests are being read; try again later.")
            return message

        try:
            yield counted
        finally:
            self._reading_bytes -= own_bytes

    def _kept_headers(self, headers: Headers) -> dict[str, str]:
        left_out = {b"authorization"} if self._key_sha256 is not None else set()
        return {
            name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items() if name not in left_out
        }


def _headers_of(pairs: Collection[tuple[bytes, bytes]]) -> Headers:
    """Return headers by name; what stands there several times is joined, as HTTP has it."""
    found: Headers = {}
    for name, value in pairs:
        found[name] = found[name] + b", " + value if name in found else value
    return found


def _checked_key(key: bytes) -> bytes:
    if len(key) > _MAX_KEY_BYTES:
        what = f"An Idempotency-Key has at most {_MAX_KEY_BYTES} characters."
        raise PostRefused(400, "invalid_value", what, param="idempotency-key")
    return key


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    about = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers]
    start: AsgiMessage = {"type": "http.response.start", "status": status, "headers": about}
    await send(start)
    await send({"type": "http.response.body", "body": body})
