"""A reader of posts at work in tests, over a real socket, with a log in memory where one is wanted."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from cluster.runtime.posts import KeptPost
from cluster.web.post_reader import PostReader
from sage.flow.connectors.http_source import HttpSource

WAIT_S = 10.0


@dataclass
class MemoryLog:
    """Keeps posts, or refuses as a full disk does."""

    posts: list[KeptPost] = field(default_factory=list)
    is_full: bool = False
    num_writes: int = 0

    def load(self) -> list[KeptPost]:
        return list(self.posts)

    def append(self, posts: Sequence[KeptPost]) -> None:
        if self.is_full:
            raise OSError(28, "No space left on device")
        self.posts += posts
        self.num_writes += 1

    def cut(self, checkpoint_id: int) -> None:
        """What is kept stays."""

    def close(self) -> None:
        """Nothing to let go."""


@dataclass
class Reading:
    """A reader that listens."""

    reader: PostReader
    came: threading.Event

    @property
    def url(self) -> str:
        return self.reader.url

    def next(self, num_records: int) -> list[Any]:
        """Wait for so many records, and return them."""
        found: list[Any] = []
        while len(found) < num_records:
            records = self.reader.read(num_records - len(found))
            assert records is not None, "the source has ended"
            found += records
            if not records:
                assert self.came.wait(WAIT_S), found
                self.came.clear()
        return found


@contextmanager
def reading(
    source: HttpSource, position: Any = None, log: MemoryLog | None = None, **settings: Any
) -> Iterator[Reading]:
    """Read what is posted to `source` for as long as the block lasts."""
    reader, came = PostReader(source, position, **settings), threading.Event()
    try:
        if log is not None:
            reader.keep_in(log)
        reader.wake_by(came.set)
        reader.begin()
        yield Reading(reader, came)
    finally:
        reader.close()


def post(url: str, body: object, **headers: str) -> httpx.Response:
    """POST `body`, as JSON unless it is bytes or bytes in pieces; underscores in names of headers are hyphens."""
    given = {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    content = body if isinstance(body, bytes | Iterator) else msgspec.json.encode(body)
    with httpx.Client(verify=False, timeout=WAIT_S) as client:  # no certificates are loaded
        return client.post(url, content=content, headers=given)


class Posting:
    """Standard error that does something once it is told where a flow listens."""

    def __init__(self, send: Callable[[str], object]) -> None:
        """`send` is given the URL."""
        self.said = ""
        self._send = send

    def write(self, text: str) -> int:
        self.said += text
        if "listens at " in text:
            self._send(text.split()[-1])
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        return False


def error_of(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Return the status, the code and what was at fault."""
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return answer.status_code, error["code"], error["param"]
