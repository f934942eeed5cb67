"""What nodes say to each other about records: bytes <-> messages between tasks. Pure; knows no socket.

A message is one multipart message of ZeroMQ: a head, and for a batch what `records` made of it. Every head carries the
wire version and its number on the connection; what is for a task also carries the epoch of its job. Any change of a
field is a new wire version.

    connecting side    Hello, then Sent, Barred, Ended, Granted in any order
    listening side     Welcome or Refused, then now and then NotHere
"""

from collections.abc import Sequence
from typing import Annotated, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from cluster.runtime.columns import BadFrame, Buffer
from cluster.runtime.links import Barrier, Delivery, End, Grant, Idle, Link, TaskMessage
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.records import decode_batch
from sage.base.errors import WireMismatch
from sage.base.ids import NodeId, TaskId

WIRE_VERSION = 5
MAX_PIECE_BYTES = (
    15 * 1024 * 1024
)  # a longer buffer travels in pieces; a socket takes frames of 16 MiB, CURVE's share included
MAX_FRAMES = 1 << 16

Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Name = Annotated[str, Meta(max_length=1024)]


class _Head(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    wire: int
    number: Count


class Hello(_Head, frozen=True, tag="hello"):
    """The first message of a connection: who speaks, and whom it takes the other side for."""

    node: Name
    to_node: Name


class _OnLink(_Head, frozen=True):
    epoch: Count
    channel: Count
    source: Name
    target: Name


class Sent(_OnLink, frozen=True, tag="batch"):
    """A batch follows: a header and buffers. `pieces`: of how many frames each is; none: of one each."""

    pieces: list[Annotated[int, Meta(ge=1, le=MAX_FRAMES)]]


class Barred(_OnLink, frozen=True, tag="barrier"):
    """What came before on this link is in the sender's part of the checkpoint."""

    checkpoint_id: Count


class Idled(_OnLink, frozen=True, tag="idle"):
    """Nothing is to be expected on this link until something comes."""


class Ended(_OnLink, frozen=True, tag="end"):
    """Nothing more comes on this link."""


class Granted(_OnLink, frozen=True, tag="credit"):
    """Credit for the link's source."""

    num_batches: Annotated[int, Meta(ge=1, lt=1 << 31)]


class Welcome(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="welcome"):
    """The answer to a Hello: who listens."""

    wire: int
    node: Name


class Refused(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="refused"):
    """The connection is at an end: nothing that comes on it counts."""

    wire: int
    node: Name
    why: Annotated[str, Meta(max_length=4096)]


class NotHere(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="not_here"):
    """A message came for a task that is not here, or not in this epoch any more; it is gone."""

    wire: int
    task: Name
    epoch: Count


ToTask = Sent | Barred | Idled | Ended | Granted
ToListener = Hello | ToTask
ToConnector = Welcome | Refused | NotHere


class _AnyVersion(msgspec.Struct, array_like=True):
    """What a head of every wire version begins with, past and to come."""

    tag: str
    wire: int


class Outbound(NamedTuple):
    """A message between tasks on its way out: its link's other end is in `epoch`. `body`: of a batch, else empty."""

    message: TaskMessage
    epoch: int
    body: Sequence[Buffer] = ()


_M = TypeVar("_M", ToListener, ToConnector)

_ENCODER = msgspec.msgpack.Encoder()
_TO_LISTENER: msgspec.msgpack.Decoder[ToListener] = msgspec.msgpack.Decoder(ToListener)
_TO_CONNECTOR: msgspec.msgpack.Decoder[ToConnector] = msgspec.msgpack.Decoder(ToConnector)
_ANY_VERSION = msgspec.msgpack.Decoder(_AnyVersion)


def hello(node: NodeId, to_node: NodeId) -> bytes:
    return _ENCODER.encode(Hello(WIRE_VERSION, 0, node, to_node))


def reply(message: ToConnector) -> bytes:
    return _ENCODER.encode(message)


def frames_of(outbound: Outbound, number: int) -> list[Buffer]:
    """Return the frames of a message that is number `number` on its connection, none longer than MAX_PIECE_BYTES."""
    message, epoch, body = outbound
    channel, source, target = message.link.channel, message.link.source, message.link.target
    match message:
        case Barrier(_, checkpoint_id):
            return [_ENCODER.encode(Barred(WIRE_VERSION, number, epoch, channel, source, target, checkpoint_id))]
        case Idle():
            return [_ENCODER.encode(Idled(WIRE_VERSION, number, epoch, channel, source, target))]
        case End():
            return [_ENCODER.encode(Ended(WIRE_VERSION, number, epoch, channel, source, target))]
        case Grant(_, num_batches):
            return [_ENCODER.encode(Granted(WIRE_VERSION, number, epoch, channel, source, target, num_batches))]
        case _:
            pieces: list[int] = []
            if max(map(len, body)) > MAX_PIECE_BYTES:
                pieces, body = _cut(body)
            return [_ENCODER.encode(Sent(WIRE_VERSION, number, epoch, channel, source, target, pieces)), *body]


def read_to_listener(head: Buffer) -> ToListener:
    """Return the head; raises WireMismatch, which names both versions, or BadFrame."""
    return _read(_TO_LISTENER, head)


def read_to_connector(head: Buffer) -> ToConnector:
    """Return the head; raises WireMismatch, which names both versions, or BadFrame."""
    return _read(_TO_CONNECTOR, head)


def message_of(head: ToTask, body: Sequence[Buffer], types: RecordTypes) -> TaskMessage:
    """Return what `head` and the frames after it say; raises BadFrame, and nothing else."""
    link = Link(head.channel, TaskId(head.source), TaskId(head.target))
    match head:
        case Sent(pieces=pieces):
            return Delivery(link, decode_batch(_joined(pieces, body), types))
        case _ if body:
            raise BadFrame(f"{len(body)} frames after a head that stands alone")
        case Barred(checkpoint_id=checkpoint_id):
            return Barrier(link, checkpoint_id)
        case Idled():
            return Idle(link)
        case Ended():
            return End(link)
        case Granted(num_batches=num_batches):
            return Grant(link, num_batches)


def _read(decoder: "msgspec.msgpack.Decoder[_M]", head: Buffer) -> "_M":
    try:
        message = decoder.decode(head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _check_version(head)
        raise BadFrame(f"a head of {len(head)} bytes that cannot be read: {error}") from error
    if message.wire != WIRE_VERSION:
        _check_version(head)
    return message


def _check_version(head: Buffer) -> None:
    try:
        wire = _ANY_VERSION.decode(head).wire
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return  # no head of any version
    if wire != WIRE_VERSION:
        what = f"the other side speaks wire version {wire} of data, this one {WIRE_VERSION}"
        raise WireMismatch(what, "Run all of a cluster from one version of sage-engine.")


def _cut(body: Sequence[Buffer]) -> tuple[list[int], list[Buffer]]:
    pieces: list[int] = []
    frames: list[Buffer] = []
    for buffer in body:
        view = memoryview(buffer)
        cuts = [view[start : start + MAX_PIECE_BYTES] for start in range(0, len(view), MAX_PIECE_BYTES)] or [view]
        pieces.append(len(cuts))
        frames += cuts
    return pieces, frames


def _joined(pieces: Sequence[int], frames: Sequence[Buffer]) -> Sequence[Buffer]:
    """Return the buffers that `_cut` cut; one that is whole is not copied."""
    if not pieces:
        if not frames:
            raise BadFrame("a batch without a header")
        return frames
    if sum(pieces) != len(frames):
        raise BadFrame(f"{len(frames)} frames of {sum(pieces)}")
    buffers: list[Buffer] = []
    start = 0
    for num in pieces:
        own = frames[start : start + num]
        buffers.append(own[0] if num == 1 else memoryview(bytearray().join(own)))
        start += num
    return buffers
