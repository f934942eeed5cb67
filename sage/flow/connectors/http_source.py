"""What is posted over HTTP as the source of a stream: a value. Knows nothing of who listens.

A post is one call: a record, or a record a line. It is read by a task, which listens where it runs.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import msgspec

from sage.base.errors import SourceUnreadable
from sage.base.hosts import is_loopback
from sage.flow.check_numbers import Fault, at_least, whole_numbers
from sage.flow.undealt import ELSEWHERE

RecordsAs = Literal["json", "text", "requests"]

MAX_BODY_BYTES = 4 * 2**20
MAX_WAITING = 1_000
MAX_WAITING_BYTES = 16 * 2**20
"""Of bodies that no task has read yet, all together: each checkpoint holds them."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LARGEST_BODY_BYTES = 2**30
MAX_PORT = 65535


class HttpRequest(msgspec.Struct, frozen=True):
    """A request as it came, for flows that look at more than the body.

    Names of `headers` are in lower case; what stands there several times is joined by commas, and the key of the source
    is left out. `query` is what follows the question mark. `received_unix_s`: when it was taken.
    """

    body: bytes
    headers: dict[str, str]
    query: str
    received_unix_s: float


@dataclass(frozen=True, slots=True)
class HttpSource:
    """What is posted to `http://HOST:PORT/NAME`; `port` 0 takes a free one. Several instances have ports in a row.

    `key_env`: the variable of the environment, where it listens, that holds the key which callers send. `max_posts`:
    the source ends after so many.
    """

    name: str
    host: str = "127.0.0.1"
    port: int = 0
    records: RecordsAs = "json"
    as_type: Any = Any
    key_env: str | None = None
    max_body_bytes: int = MAX_BODY_BYTES
    max_waiting: int = MAX_WAITING
    max_posts: int | None = None

    def undealt(self) -> Fault | None:
        """Return why only one instance can read it; None where each has a URL of its own."""
        if self.max_posts is None:
            return None
        what = f"of the posts to {self.name!r} {self.max_posts} are taken, which one instance counts"
        return Fault(what, f"Leave max_posts away. {ELSEWHERE}", "max_posts")

    def open(self) -> NoReturn:
        """Raise SourceUnreadable: only the tasks of a job listen."""
        raise SourceUnreadable(
            f"nobody listens for what is posted to {self.name!r} here",
            "Run the flow: flow.run(), or submit it to a cluster.",
        )

    def open_at(self, position: Any) -> NoReturn:
        """Raise SourceUnreadable, as `open` does."""
        self.open()

    def fault(self) -> Fault | None:
        """Return what of it cannot be honoured; None where all can."""
        return self._fault_of_place() or self._fault_of_bounds()

    def _fault_of_place(self) -> Fault | None:
        if not _is_text(self.name) or not _NAME.fullmatch(self.name):
            what = f"what is posted has a name of up to 64 letters, digits and ._- , got {self.name!r:.80}"
            return Fault(what, 'It is a part of the URL. Write flow.from_http("orders").', "name")
        if not _is_text(self.host):
            return Fault(f"host={self.host!r:.80} is no address", 'For example "127.0.0.1".', "host")
        if type(self.port) is not int or not 0 <= self.port <= MAX_PORT:
            return Fault(f"port={self.port!r:.80} is none", f"0, which takes a free one, to {MAX_PORT}.", "port")
        if self.key_env is not None and not _is_text(self.key_env):
            return Fault(f"key_env={self.key_env!r:.80} names no variable", 'For example "ORDERS_KEY".', "key_env")
        if self.key_env is None and not is_loopback(self.host):
            what = f"{self.host!r} can be reached from other machines, and there is no key to keep strangers out"
            do = 'Name the variable that holds one: key_env="ORDERS_KEY"; or listen on 127.0.0.1.'
            return Fault(what, do, "host")
        return None

    def _fault_of_bounds(self) -> Fault | None:
        if self.records not in ("json", "text", "requests"):
            return Fault(f"records={self.records!r:.80} is unknown", 'Known are "json", "text", "requests".', "records")
        if self.as_type is not Any and self.records != "json":
            return Fault("as_type is what JSON becomes", 'Leave it away, or write records="json".', "as_type")
        counts = {"max_body_bytes": self.max_body_bytes, "max_waiting": self.max_waiting, "max_posts": self.max_posts}
        for fault in (*whole_numbers(**counts), *at_least(1, **counts)):
            return fault
        for param in ("max_body_bytes", "max_waiting"):
            if counts[param] is None:
                return Fault(f"{param} is None; there is always a bound", "Leave it out for the usual one.", param)
        if self.max_body_bytes > _LARGEST_BODY_BYTES:
            return Fault(f"max_body_bytes is {self.max_body_bytes}; it is at most 1 GiB", "", "max_body_bytes")
        return None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def posted_to(spec: object) -> HttpSource | None:
    """Return the source that listens where a step begins with one; None for any other step."""
    source = getattr(spec, "source", None)
    return source if isinstance(source, HttpSource) else None
