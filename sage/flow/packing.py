"""Compressed files, known by how their names end. Knows no place and no format.

What is packed piece by piece can be cut off after any piece, and put together again it is one file.
"""

import gzip
import zlib
from collections.abc import Callable
from typing import IO, cast

UNPACKABLE = (OSError, EOFError, zlib.error)
"""What reading raises: the disk refuses, or the file is cut off or not what its name says."""


def unpacked(path: str, file: IO[bytes]) -> IO[bytes]:
    """Return what gives the content of a file; the file itself where its name does not say that it is packed."""
    match _ending(path):
        case "gz":
            return cast(IO[bytes], gzip.GzipFile(fileobj=file, mode="rb"))
        case "bz2":
            import bz2  # some builds of Python lack it

            return bz2.BZ2File(file)
        case _:
            return file


def packer_of(path: str) -> Callable[[bytes], bytes] | None:
    """Return what packs a piece for a file of this name; None where it is written as it is."""
    match _ending(path):
        case "gz":
            return lambda data: gzip.compress(data, mtime=0)
        case "bz2":
            import bz2

            return bz2.compress
        case _:
            return None


def is_packed(path: str) -> bool:
    return packer_of(path) is not None


def _ending(path: str) -> str:
    return path.rpartition(".")[2].lower()
