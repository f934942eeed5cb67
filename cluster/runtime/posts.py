"""What is posted to a flow, and who keeps it until the flow has counted it: ports. Knows no HTTP and no disk.

A source that listens takes posts at any time, its task reads them when it can. Between the two they wait in memory.
Where checkpoints are taken, a log beside them holds what came since the newest, and each holds what waited then.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from sage.flow.ports import WokenReader


class KeptPost(msgspec.Struct, frozen=True, array_like=True):
    """A post as it came. Numbers grow with time: in any two runs of a flow, and not by one.

    `is_lines`: a record is a line of the body. `headers` and `query` are kept where records are whole requests. `key`:
    what of its Idempotency-Key is remembered, b"" where it has none. `taken_by`: which instance of its run numbered it.
    `num_read`: so many of its records were read before it was kept.
    """

    number: int
    received_unix_s: float
    is_lines: bool
    body: bytes
    headers: dict[str, str] = {}
    query: str = ""
    key: bytes = b""
    taken_by: int = 0
    num_read: int = 0


class PostLog(Protocol):
    """Keeps the posts of one instance of a source beyond the process. Used by one thread at a time; raises OSError."""

    def load(self) -> list[KeptPost]:
        """Return what all instances of runs before have kept, in the order in which it came; some may be counted.

        Raises CheckpointUnusable where some of it was kept and cannot be read any more.
        """
        ...

    def append(self, posts: Sequence[KeptPost]) -> None:
        """Keep posts; they are on the disk once this returns."""
        ...

    def cut(self, checkpoint_id: int) -> None:
        """A checkpoint is taken, which holds what waits: what comes from now on is kept apart from what came before."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class ListeningReader(WokenReader[Any], Protocol):
    """A reader that takes what is posted to it, from `begin` on; who posts before waits."""

    @property
    def url(self) -> str:
        """Where to post."""
        ...

    def keep_in(self, log: PostLog) -> None:
        """Keep what is posted, before it is acknowledged; called once, before `wake_by`. Raises CheckpointUnusable."""
        ...

    def begin(self) -> None:
        """Take posts: every instance of the source has found by now what was kept before."""
        ...

    def cut(self, checkpoint_id: int) -> None:
        """Take note that a checkpoint is taken: `position` is called next, before any read."""
        ...
