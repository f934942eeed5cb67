"""Files to read: found by a pattern, opened, unpacked; here or at a URL that fsspec knows. Knows no format."""

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from sage.base.errors import SourceUnreadable
from sage.flow.connectors.extras import library
from sage.flow.packing import UNPACKABLE, is_packed, unpacked


def files_of_pattern(pattern: str) -> list[str]:
    """Return the file of this name, or else the files that match it as a glob (`**` enters folders), sorted.

    Raises SourceUnreadable where there is none, ExtraMissing.
    """
    if is_url(pattern):
        return _files_at(pattern)
    if os.path.exists(pattern):
        return [pattern]
    if glob.has_magic(pattern):
        if found := sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)):
            return found
        raise SourceUnreadable(f"no file matches {pattern} in {os.getcwd()}", "Check the pattern.")
    raise SourceUnreadable(f"{os.path.abspath(pattern)} does not exist", "Check the path.")


def paths_from(pattern: str, path: str) -> list[str]:
    """Return the files that match, from one of them on; raises SourceUnreadable where that is gone."""
    paths = files_of_pattern(pattern)
    if path not in paths:
        raise SourceUnreadable(f"{path}, which was read before, is not there any more", "Bring it back as it was.")
    return paths[paths.index(path) :]


def is_url(path: str) -> bool:
    return "://" in path


@contextmanager
def opened(path: str, *, offset_bytes: int = 0) -> Iterator[IO[bytes]]:
    """Open a file, unpacked, at an offset in its content; what goes wrong until it is closed is SourceUnreadable."""
    try:
        with opened_raw(path) as raw, unpacked(path, raw) as file:
            if offset_bytes and file.seek(offset_bytes) < offset_bytes:
                raise too_short(path, file.tell(), offset_bytes)
            yield file
    except UNPACKABLE as error:
        raise unreadable(path, error) from error


def check_length(path: str, least_bytes: int) -> None:
    """Raise SourceUnreadable where the file is shorter than that: it is not the one that was read before.

    Of a packed file that is seen only where it is opened.
    """
    if is_packed(path):
        return
    try:
        len_bytes = _len_at(path) if is_url(path) else os.path.getsize(path)
    except OSError as error:
        raise unreadable(path, error) from error
    if len_bytes is not None and len_bytes < least_bytes:
        raise too_short(path, len_bytes, least_bytes)


def unreadable(path: str, error: BaseException) -> SourceUnreadable:
    """Return what to tell users of a file that cannot be read."""
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if is_packed(path) and getattr(error, "errno", None) is None:
        return SourceUnreadable(f"{path} cannot be unpacked: {why}", "Look at it: is it whole, and of this kind?")
    return SourceUnreadable(f"{path} cannot be read: {why}", "Check the path and its permissions.")


def too_short(path: str, len_bytes: int, least_bytes: int) -> SourceUnreadable:
    """Return what to tell users of a file that holds less than was read of it before."""
    return SourceUnreadable(
        f"{path} has {len_bytes} bytes, and {least_bytes} of it were read before", "Bring it back as it was."
    )


def look_at_line(path: str, number: int) -> str:
    """Return the command that shows a line of a file."""
    if is_url(path):
        return f"Look at line {number} of {path}."
    unpack = {"gz": "zcat", "bz2": "bzcat"}.get(path.rpartition(".")[2].lower())
    return f"Look at it: {unpack} {path} | sed -n {number}p" if unpack else f"Look at it: sed -n {number}p {path}"


def file_system(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL and the path there; raises ExtraMissing, SourceUnreadable."""
    fsspec = library("fsspec.core", "fsspec")
    try:
        system, path = fsspec.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise SourceUnreadable(f"fsspec cannot open {url}: {error}", "Install what it needs for such URLs.") from error
    return system, path


def exists(path: str) -> bool:
    if not is_url(path):
        return os.path.exists(path)
    system, name = file_system(path)
    return bool(system.exists(name))


def opened_raw(path: str) -> IO[bytes]:
    """Open a file as it is; raises OSError."""
    if is_url(path):
        system, name = file_system(path)
        found: IO[bytes] = system.open(name, "rb")
        return found
    return open(path, "rb", buffering=0)


def _len_at(url: str) -> int | None:
    system, name = file_system(url)
    size: int | None = system.size(name)
    return size


def _files_at(pattern: str) -> list[str]:
    system, path = file_system(pattern)
    try:
        if not glob.has_magic(path) or system.exists(path):
            found = [path] if system.exists(path) else []
        else:
            found = sorted(name for name, of in system.glob(path, detail=True).items() if of["type"] == "file")
    except OSError as error:
        raise unreadable(pattern, error) from error
    if not found:
        raise SourceUnreadable(f"there is no {pattern}", "Check the URL.")
    return [system.unstrip_protocol(name) for name in found]
