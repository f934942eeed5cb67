"""Messages of control to frames and back: header and body, numbered, of one wire version. Pure; knows no socket."""

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec

from cluster.runtime.control import CONTROL_WIRE, MAX_FRAME_BYTES, ControlMessage
from cluster.runtime.numbering import Numbering
from sage.base.codec import Codec
from sage.base.errors import InternalError, WireMismatch

M = TypeVar("M", bound=ControlMessage)


class Header(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The first part of every message. `wire` comes first in every version, past and to come.

    `epoch`: the membership that the sender has, or is spoken to in; 0: none. `sequence` counts the messages of one
    connection and direction from 1: a gap or a repetition breaks the connection.
    """

    wire: int
    epoch: int
    sequence: int


class Came(NamedTuple, Generic[M]):
    """A message, and the epoch in which it was sent."""

    message: M
    epoch: int


class _AnyHeader(msgspec.Struct, array_like=True):
    """What a header of every wire version begins with, past and to come."""

    wire: int


class FrameWriter:
    """The sending direction of one connection."""

    def __init__(self) -> None:
        self._num_sent = 0
        self._encoder = msgspec.msgpack.Encoder()

    def frames(self, message: ControlMessage, epoch: int) -> list[bytes]:
        """Return the frames of the next message; raises InternalError where it is too long to travel."""
        body = self._encoded(message)
        if len(body) > MAX_FRAME_BYTES:
            raise InternalError(f"a {type(message).__name__} of {len(body):,} bytes is too long to be sent")
        self._num_sent += 1
        return [self._encoder.encode(Header(CONTROL_WIRE, epoch, self._num_sent)), body]

    def _encoded(self, message: ControlMessage) -> bytes:
        try:
            return self._encoder.encode(message)
        except UnicodeEncodeError:  # half a surrogate pair, in what a user's error or record says
            return self._encoder.encode(_with_clean_text(msgspec.to_builtins(message, builtin_types=(bytes,))))


class FrameReader(Generic[M]):
    """The receiving direction of one connection. What it raises breaks the connection."""

    def __init__(self, codec: Codec[M]) -> None:
        """`codec`: of what the other side may say; readers on one thread may share it."""
        self._codec = codec
        self._order = Numbering(1)

    def read(self, frames: Sequence[bytes]) -> Came[M]:
        """Return the next message.

        Raises WireMismatch, which names both versions; OutOfOrder for what is not the next; InternalError for what is
        no message.
        """
        if len(frames) != 2:
            raise InternalError(f"a message of control has two frames, not {len(frames)}")
        header = _header(frames[0])
        self._order.check(header.sequence)
        return Came(self._codec.decode(frames[1]), header.epoch)


def _with_clean_text(value: object) -> object:
    """Return `value`, made of builtins, with a question mark for whatever is no character."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_with_clean_text(key): _with_clean_text(item) for key, item in value.items()}
        case list() | tuple():
            return [_with_clean_text(item) for item in value]
        case _:
            return value


def _header(frame: bytes) -> Header:
    try:
        wire = msgspec.msgpack.decode(frame, type=_AnyHeader).wire
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InternalError(f"{len(frame)} bytes that are no header of control: {error}") from error
    if wire != CONTROL_WIRE:
        raise WireMismatch(
            f"the other side speaks wire version {wire} of control, this one {CONTROL_WIRE}",
            "Run all of a cluster from one version of sage-engine.",
        )
    try:
        return msgspec.msgpack.decode(frame, type=Header)
    except msgspec.DecodeError as error:
        raise InternalError(f"a header of control that is not of its version: {error}") from error
