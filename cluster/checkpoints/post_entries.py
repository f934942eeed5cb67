"""Posts as bytes and back, each with its length and a checksum. Pure.

crc32 of the rest | length of the post | the post, in MessagePack
"""

import struct
from zlib import crc32

import msgspec

from cluster.runtime.posts import KeptPost

_CRC = struct.Struct("<I")
_LEN = struct.Struct("<I")
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(KeptPost)


def bytes_of_post(post: KeptPost) -> bytes:
    content = _ENCODER.encode(post)
    rest = _LEN.pack(len(content)) + content
    return _CRC.pack(crc32(rest)) + rest


def posts_in(content: bytes) -> tuple[list[KeptPost], int]:
    """Return what was written whole, and how many bytes are left: a kill, or a full disk, may have torn the last."""
    posts: list[KeptPost] = []
    at = whole = 0
    while at + _CRC.size + _LEN.size <= len(content):
        (checksum,) = _CRC.unpack_from(content, at)
        start = at + _CRC.size
        (len_post,) = _LEN.unpack_from(content, start)
        at = start + _LEN.size + len_post
        if at > len(content) or crc32(memoryview(content)[start:at]) != checksum:
            break
        posts.append(_DECODER.decode(memoryview(content)[start + _LEN.size : at]))
        whole = at
    return posts, len(content) - whole
