"""Closed unions to bytes and back, by MessagePack. Knows nothing of sockets; code never travels through it."""

from typing import Generic, TypeVar

import msgspec

from sage.base.errors import InternalError

M = TypeVar("M")

UNSENDABLE = (UnicodeEncodeError, OverflowError, TypeError)
"""What encoding raises for what users gave: half a surrogate pair, a number above 64 bits, a class of their own."""


class Codec(Generic[M]):
    """Encodes and decodes one closed union of tagged Structs; not shared between threads."""

    def __init__(self, union: type[M]) -> None:
        """`union`: the type, or union of tagged types, that may travel; anything else is refused on decode."""
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(union)

    def encode(self, message: M) -> bytes:
        return self._encoder.encode(message)

    def decode(self, data: bytes | memoryview) -> M:
        """Return the message; raises InternalError where `data` is not one of the union."""
        try:
            return self._decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # a string may hold any bytes
            raise InternalError(f"a frame of {len(data)} bytes is no message of this protocol: {error}") from error
