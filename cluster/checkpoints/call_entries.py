"""Entries of a journal of model calls as bytes: asked, answered or failed, each with a checksum. Pure.

crc32 of the rest | kind | length of the answer | key (16 bytes) | answer
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple
from zlib import crc32

LEN_KEY = 16
_CRC = struct.Struct("<I")
_HEAD = struct.Struct(f"<BI{LEN_KEY}s")


class EntryKind(IntEnum):
    ASKED = 0
    ANSWERED = 1
    FAILED = 2


class Entry(NamedTuple):
    """`answer` is empty unless the call was answered."""

    kind: EntryKind
    key: bytes
    answer: bytes = b""


def bytes_of_entry(entry: Entry) -> bytes:
    rest = _HEAD.pack(entry.kind, len(entry.answer), entry.key) + entry.answer
    return _CRC.pack(crc32(rest)) + rest


def len_of_entry(entry: Entry) -> int:
    """Return how many bytes it has."""
    return _CRC.size + _HEAD.size + len(entry.answer)


def entries_in(content: bytes) -> Iterator[Entry]:
    """Return what was written whole: a kill, or a full disk, may have torn the last; nothing after it counts."""
    at = 0
    while at + _CRC.size + _HEAD.size <= len(content):
        (checksum,) = _CRC.unpack_from(content, at)
        start = at + _CRC.size
        kind, len_answer, key = _HEAD.unpack_from(content, start)
        at = start + _HEAD.size + len_answer
        if at > len(content) or crc32(memoryview(content)[start:at]) != checksum:
            return
        yield Entry(EntryKind(kind), key, content[start + _HEAD.size : at])
