"""Frames as nobody should send them, drawn from a seed: noise, and messages that were good before. Sends nothing."""

from collections.abc import Sequence
from random import Random

import msgspec

Frames = list[bytes]

_HOSTILE: tuple[object, ...] = (
    None,
    -1,
    0,
    1 << 63,
    1e308,
    "",
    "\0",
    "é" * 1000,
    b"",
    [],
    {},
    True,
    [[[[]]]],
    {"type": "Nobody"},
)
_DEEP = b"\x91" * 5_000
_LONG = b"\xdd\xff\xff\xff\xff"  # an array of 2^32 - 1 items that are not there


class FrameFuzz:
    """Draws messages. The same seed and corpus give the same ones."""

    def __init__(self, corpus: Sequence[Frames], rng: Random) -> None:
        """`corpus`: good messages, none of which does harm as it stands."""
        self._corpus = corpus
        self._rng = rng

    def message(self) -> Frames:
        """Return frames of which next to none are a good message."""
        frames = list(self._rng.choice(self._corpus))
        for _ in range(self._rng.randint(1, 3)):
            frames = self._changed(frames)
        return frames

    def good(self) -> Frames:
        return list(self._rng.choice(self._corpus))

    def _changed(self, frames: Frames) -> Frames:
        number = self._rng.randrange(len(frames)) if frames else 0
        match self._rng.randrange(9):
            case 0:
                return [*frames[:number], *frames[number + 1 :]] or [b""]
            case 1:
                return [*frames, *frames[number : number + 1]]
            case 2:
                return [self._rng.randbytes(self._rng.randint(0, 200)) for _ in range(self._rng.randint(1, 4))]
            case 3:
                return _with(frames, number, frames[number] + self._rng.choice((b"\0", _DEEP, _LONG)))
            case 4:
                return _with(frames, number, self._rng.choice((_DEEP, _LONG, b"", b"\xc1")))
            case 5:
                return _with(frames, number, frames[number][: self._rng.randint(0, len(frames[number]))])
            case 6 | 7:
                return _with(frames, number, self._with_other_values(frames[number]))
            case _:
                return _with(frames, number, self._with_other_bits(frames[number]))

    def _with_other_bits(self, frame: bytes) -> bytes:
        changed = bytearray(frame)
        for _ in range(self._rng.randint(1, 4)):
            if changed:
                changed[self._rng.randrange(len(changed))] ^= 1 << self._rng.randrange(8)
        return bytes(changed)

    def _with_other_values(self, frame: bytes) -> bytes:
        """Return a frame of good MessagePack with one value exchanged, however deep, or one too many."""
        try:
            value = msgspec.msgpack.decode(frame)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError):  # a list as a key
            return self._with_other_bits(frame)
        return msgspec.msgpack.encode(self._exchanged(value))

    def _exchanged(self, value: object) -> object:
        hostile = self._rng.choice(_HOSTILE)
        match value:
            case dict() if value:
                key = self._rng.choice(list(value))
                is_more = self._rng.random() < 0.1
                return {**value, "more" if is_more else key: hostile if is_more else self._exchanged(value[key])}
            case list() if value:
                number = self._rng.randrange(len(value))
                return [*value[:number], self._exchanged(value[number]), *value[number + 1 :]]
            case _:
                return hostile


def _with(frames: Frames, number: int, frame: bytes) -> Frames:
    return [*frames[:number], frame, *frames[number + 1 :]]
