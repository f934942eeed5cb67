"""Records as requests to a web hook: what is sent, and what its answer means. Knows nothing of steps or event loops."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sage.base.clock import SystemClock
from sage.base.errors import SinkUnwritable
from sage.base.retry_after import seconds_of_retry_after
from sage.flow.connectors.extras import library
from sage.flow.json_form import NoJsonForm, encoded
from sage.flow.ports import Repeats

MAX_KEY_CHARS = 255
_MAX_SHOWN_CHARS = 200
_MAX_ANSWER_BYTES = 1 << 16  # of an answer that is longer the connection is closed
_MAY_PASS = frozenset((408, 425, 429))  # besides 500 and above


class HookBusy(ConnectionError):
    """A request that was not answered, or by a status that may pass; `retry_after_s`: when the answer says to retry."""

    def __init__(self, what: str, retry_after_s: float | None = None) -> None:
        super().__init__(what)
        self.retry_after_s = retry_after_s


class HookRequest(NamedTuple):
    content: bytes
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Hook:
    """Sends each record as a request of its own. `body` and `key` are functions of the record; None: itself, no key.

    Its address and headers may hold secrets: what is shown of it is the server alone.
    """

    url: str = field(repr=False)
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: Callable[[Any], Any] | None = None
    key: Callable[[Any], str] | None = None

    @property
    def server(self) -> str:
        parts = urlsplit(self.url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname}{port}"

    def for_task(self) -> "HookCalls":
        return HookCalls(self)

    async def __call__(self, record: Any) -> None:
        await self.for_task()(record)

    def request(self, record: Any) -> HookRequest:
        """Return what is sent of a record; raises SinkUnwritable, since the same would come of it again."""
        body = record if self.body is None else self.body(record)
        headers = {"Content-Type": "application/json"}
        if isinstance(body, bytes | str):
            content = body.encode() if isinstance(body, str) else body
            headers = {"Content-Type": "application/octet-stream" if isinstance(body, bytes) else "text/plain"}
        else:
            content = self._json(body)
        headers |= {name.title(): value for name, value in self.headers}
        if self.key is not None:
            headers["Idempotency-Key"] = self._key(self.key(record))
        return HookRequest(content, headers)

    def check(self, status: int, headers: Any, text: str) -> None:
        """Raise HookBusy for a status that may pass, SinkUnwritable for any other that is not of the 200s."""
        if 200 <= status < 300:
            return
        said = f"{self.server} answered {status}: {text[:_MAX_SHOWN_CHARS]}"
        if status >= 500 or status in _MAY_PASS:
            raise HookBusy(said, seconds_of_retry_after(headers.get("Retry-After"), SystemClock()))
        raise SinkUnwritable(said, "Check the address, the headers and what the record is made into.")

    def _json(self, body: Any) -> bytes:
        try:
            return encoded(body)
        except NoJsonForm as error:
            raise SinkUnwritable(
                f"a record for {self.server} has no JSON form: {error}; it is {body!r:.200}",
                "Give body=, a function of the record to what JSON knows, text or bytes.",
            ) from error

    def _key(self, key: object) -> str:
        if isinstance(key, str) and key.isascii() and key.isprintable() and 0 < len(key) <= MAX_KEY_CHARS:
            return key
        raise SinkUnwritable(
            f"an Idempotency-Key is a text of 1 to {MAX_KEY_CHARS} ASCII characters, got {key!r:.80}",
            "Give key=, for example: key=lambda order: f\"order-{order['id']}\".",
        )


class HookCalls:
    """The requests of one task. Connections are kept for as long as requests are under way, and no longer."""

    def __init__(self, hook: Hook) -> None:
        """Raises ExtraMissing."""
        self._hook = hook
        self._aiohttp = library("aiohttp", "http")
        self._session: Any = None
        self._num_under_way = 0

    async def __call__(self, record: Any) -> None:
        """Send a record; raises HookBusy, SinkUnwritable."""
        hook = self._hook
        request = hook.request(record)
        self._num_under_way += 1
        session = self._session = self._session or self._new_session()
        try:
            sent = session.request(
                hook.method, hook.url, data=request.content, headers=request.headers, allow_redirects=False
            )
            async with sent as answer:
                said = (await answer.content.read(_MAX_ANSWER_BYTES)).decode(errors="replace")
        except (self._aiohttp.ClientError, OSError) as error:
            raise HookBusy(f"{hook.server} did not answer: {type(error).__name__}") from error
        finally:
            self._num_under_way -= 1
            if not self._num_under_way:
                self._session = None
                await session.close()
        hook.check(answer.status, answer.headers, said)

    def _new_session(self) -> Any:
        """Return one without bounds of its own: the step says how many requests there are, and for how long."""
        aiohttp = self._aiohttp
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=True,
        )


@dataclass(frozen=True, slots=True)
class Delivered:
    """The end of a stream whose records were taken by a hook. `repeats`: as the hook's requests have a key or not."""

    repeats: Repeats

    def share(self, number: int, num_shares: int) -> "Delivered":
        return self

    def open(self) -> "Delivered":
        return self

    def write(self, records: Any) -> None:
        """Nothing is left to do."""

    def close(self, *, complete: bool) -> None:
        """Nothing to let go."""
