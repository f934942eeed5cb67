"""Files that appear, whole, when all is well: of this machine, or at URLs. Knows no format."""

from collections.abc import Callable, Sequence
from typing import IO, Any, Protocol

from sage.flow.file_shares import FileShares
from sage.flow.files import is_url
from sage.flow.partial_file import begin_file, resume_file
from sage.flow.ports import Written


class WholeFile(Protocol):
    """Nobody sees it before it is whole. `partial`: where what is written lies until then; no two are the same."""

    path: str
    partial: str

    def write(self, data: bytes) -> None:
        """Append; raises SinkUnwritable."""
        ...

    def written(self) -> Written:
        """Return how far it is: a later run goes on from there."""
        ...

    def rewrite(self, make: Callable[[IO[bytes], IO[bytes]], None]) -> None:
        """Have `make(source, target)` turn what was written into what `close` puts in its place."""
        ...

    def close(self, *, complete: bool) -> None:
        """Put the file in its place, or let go of what was begun."""
        ...


def begin_whole(path: str, shares: FileShares | None = None) -> WholeFile:
    """Start to write a file, or at a URL; raises SinkUnwritable, ExtraMissing. `shares`: all files of its sink."""
    if shares is not None:
        shares.check()
    if not is_url(path):
        return begin_file(path)
    from sage.flow.remote_file import begin_remote

    return begin_remote(path)


def resume_whole(path: str, position: Sequence[Any]) -> WholeFile:
    """Go on where an earlier writing said it was; raises SinkUnwritable where that is gone."""
    if not is_url(path):
        return resume_file(path, position)
    from sage.flow.remote_file import resume_remote

    return resume_remote(path, position)
