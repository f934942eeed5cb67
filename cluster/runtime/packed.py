"""Records as bytes within a message of control, in pieces that are never too long. Knows no message.

For what a collecting sink brings: much less than what tasks send each other, which has sockets of its own.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from cluster.runtime.columns import BadFrame
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.records import decode_batch, encode_batch
from sage.base.batch import Batch
from sage.base.errors import InternalError, RecordUnsendable

PIECE_BYTES = 256 * 1024
MAX_RECORD_BYTES = 12 * 1024 * 1024

_ARRAY = b"\xdd"  # of MessagePack: as many values as the next four bytes say
_DECODER = msgspec.msgpack.Decoder(list[bytes | list[bytes]])


class Piece(NamedTuple):
    packed: bytes
    num_records: int


def pack_records(records: Sequence[Any], types: RecordTypes, *, where: str) -> Iterator[Piece]:
    """Yield `records` in pieces of about PIECE_BYTES, in order; `where` names the step. Raises RecordUnsendable."""
    packed = pack_whole(records, types, where=where)
    if len(packed) <= PIECE_BYTES or len(records) == 1:
        if len(packed) > MAX_RECORD_BYTES:
            what = f"{where} brings a record of {len(packed):,} bytes; {MAX_RECORD_BYTES:,} may travel to the client"
            raise RecordUnsendable(what, "Write it to a file: write_jsonl.")
        yield Piece(packed, len(records))
        return
    middle = len(records) // 2
    yield from pack_records(records[:middle], types, where=where)
    yield from pack_records(records[middle:], types, where=where)


def join_pieces(pieces: Sequence[Piece]) -> Piece:
    """Return one or more pieces as one; `unpack_records` gives the records of all, in order."""
    if len(pieces) == 1:
        return pieces[0]
    head = _ARRAY + len(pieces).to_bytes(4, "big")
    return Piece(head + b"".join(piece.packed for piece in pieces), sum(piece.num_records for piece in pieces))


def unpack_records(packed: bytes, types: RecordTypes) -> Sequence[Any]:
    """Return the records of one piece; raises InternalError for bytes that are none."""
    try:
        parts = _DECODER.decode(packed)
        if not parts:
            raise BadFrame("no header")
        if isinstance(parts[0], bytes):
            return _unpacked(parts, types)
        return [record for part in parts for record in _unpacked(part if isinstance(part, list) else (), types)]
    except (BadFrame, msgspec.DecodeError) as error:
        raise InternalError(f"{len(packed)} bytes that are no packed records: {error}") from error


def _unpacked(part: Sequence[object], types: RecordTypes) -> Sequence[Any]:
    buffers = [buffer for buffer in part if isinstance(buffer, bytes)]
    if not buffers or len(buffers) != len(part):
        raise BadFrame("no header, or pieces among buffers")
    return decode_batch(buffers, types).values


def pack_whole(records: Sequence[Any], types: RecordTypes, *, where: str) -> bytes:
    """Return `records` as one piece, however long, for what stays on this machine. Raises RecordUnsendable."""
    return msgspec.msgpack.encode([bytes(buffer) for buffer in encode_batch(Batch(records), types, where=where)])
