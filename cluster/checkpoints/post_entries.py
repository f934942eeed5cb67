"""Posts as bytes and back, each with its length and a checksum, and marks of what was on the disk. Pure.

crc32 of the rest | length of the post | the post, in MessagePack
"kept" | where the mark is in its file, 8 bytes | crc32 of both: all before it was on the disk
"""

import struct
from zlib import crc32

import msgspec

from cluster.runtime.posts import KeptPost

_CRC = struct.Struct("<I")
_LEN = struct.Struct("<I")
_PLACE = struct.Struct("<Q")
_KEPT = b"kept"
LEN_MARK_BYTES = len(_KEPT) + _PLACE.size + _CRC.size
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(KeptPost)


def bytes_of_post(post: KeptPost) -> bytes:
    content = _ENCODER.encode(post)
    rest = _LEN.pack(len(content)) + content
    return _CRC.pack(crc32(rest)) + rest


def bytes_of_mark(place: int) -> bytes:
    """Return the mark that stands at `place` in a file."""
    said = _KEPT + _PLACE.pack(place)
    return said + _CRC.pack(crc32(said))


def is_damaged(content: bytes, num_left_bytes: int) -> bool:
    """Say whether the last bytes, which cannot be read, were on the disk once: a mark stands after some of them."""
    at = len(content) - num_left_bytes
    while (at := content.find(_KEPT, at + 1)) >= 0:
        if _is_mark(content, at):
            return True
    return False


def _is_mark(content: bytes, at: int) -> bool:
    return content[at : at + LEN_MARK_BYTES] == bytes_of_mark(at)


def posts_in(content: bytes) -> tuple[list[KeptPost], int]:
    """Return what was written whole, and how many bytes are left: a kill, or a full disk, may have torn the last."""
    posts: list[KeptPost] = []
    at = whole = 0
    while at + _CRC.size + _LEN.size <= len(content):
        if _is_mark(content, at):
            at = whole = at + LEN_MARK_BYTES
            continue
        (checksum,) = _CRC.unpack_from(content, at)
        start = at + _CRC.size
        (len_post,) = _LEN.unpack_from(content, start)
        at = start + _LEN.size + len_post
        if at > len(content) or crc32(memoryview(content)[start:at]) != checksum:
            break
        posts.append(_DECODER.decode(memoryview(content)[start + _LEN.size : at]))
        whole = at
    return posts, len(content) - whole
