"""A batch of Python records to a MessagePack header and buffers, and back. Pure; knows nothing of links or sockets.

    None bool int float str bytes list tuple dict set frozenset datetime date time timedelta Decimal UUID, NumPy arrays
    and scalars, Structs, dataclasses and Enums of a closed table

travel and come out equal and of the same type; everything else is refused by name. Nothing received is looked up in a
module or called, but for the classes of that table.
"""

from collections.abc import Sequence
from struct import pack, unpack
from typing import Any

import msgspec

from cluster.runtime.assemble import Assembler
from cluster.runtime.columns import BadFrame, Buffer, Column
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.shred import Foreign, Shredder
from operators.keycode import with_one_nan
from sage.base.batch import Batch
from sage.base.errors import RecordUnsendable

MAX_BATCH_BYTES = 1 << 30


class _Header(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    values: Column
    keys: Column | None
    timestamps: bytes | None = None  # float64 each, little end first
    watermark_s: float | None = None


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Header)


def encode_batch(batch: Batch, types: RecordTypes, *, where: str) -> list[Buffer]:
    """Return the header and the buffers of `batch`; arrays are not copied, so nobody may change them any more.

    `where` names the step for the error. Raises RecordUnsendable.
    """
    try:
        try:
            buffers = _encoded(batch, Shredder(types))
        except (OverflowError, UnicodeEncodeError):
            buffers = _encoded(batch, Shredder(types, is_careful=True))
    except Foreign as foreign:
        raise _unsendable(foreign, where) from foreign
    num_bytes = sum(map(len, buffers))
    if num_bytes > MAX_BATCH_BYTES:
        what = (
            f"{where} sends a batch of {num_bytes:,} bytes to another process; {MAX_BATCH_BYTES:,} may travel at once"
        )
        raise RecordUnsendable(what, "Set runtime.batch_records lower.")
    return buffers


def decode_batch(buffers: Sequence[Buffer], types: RecordTypes) -> Batch:
    """Return the batch of what `encode_batch` made; arrays are views of `buffers`. Raises BadFrame alone."""
    try:
        header = _DECODER.decode(buffers[0])
        assembler = Assembler(types, buffers[1:])
        keys, times = _keys(assembler, header.keys), _seconds(header.timestamps)
        batch = Batch(assembler.values(header.values), keys, times, header.watermark_s)
    except BadFrame:
        raise
    except Exception as error:
        raise BadFrame(f"a batch that cannot be read: {type(error).__name__}: {str(error)[:200]}") from error
    if batch.keys is not None and len(batch.keys) != len(batch.values):
        raise BadFrame(f"{len(batch.keys)} keys of {len(batch.values)} records")
    if batch.timestamps_s is not None and len(batch.timestamps_s) != len(batch.values):
        raise BadFrame(f"{len(batch.timestamps_s)} timestamps of {len(batch.values)} records")
    return batch


def _encoded(batch: Batch, shredder: Shredder) -> list[Buffer]:
    values = shredder.column(_listed(batch.values))
    keys = None if batch.keys is None else shredder.column(_listed(batch.keys))
    times = None if batch.timestamps_s is None else pack(f"<{len(batch)}d", *batch.timestamps_s)
    return [_ENCODER.encode(_Header(values, keys, times, batch.watermark_s)), *shredder.buffers]


def _listed(values: Sequence[Any]) -> Sequence[Any]:
    return values if type(values) in (list, tuple) else list(values)


def _keys(assembler: Assembler, column: Column | None) -> list[Any] | None:
    if column is None:
        return None
    keys = assembler.values(column)
    kinds = set(map(type, set(keys)))  # raises TypeError for a key that cannot be one
    return list(map(with_one_nan, keys)) if float in kinds else keys


def _seconds(packed: bytes | None) -> list[float] | None:
    return None if packed is None else list(unpack(f"<{len(packed) // 8}d", packed))


def _unsendable(foreign: Foreign, where: str) -> RecordUnsendable:
    place = f" at record{''.join(foreign.path)}" if foreign.path else ""
    return RecordUnsendable(
        f"{where} sends a record to another process that holds {foreign.why}{place}",
        "Send None, bool, int, float, str, bytes, list, tuple, dict, set, datetime, date, time, timedelta, Decimal, "
        "UUID, NumPy arrays, or a Struct, dataclass or Enum of the flow's own modules.",
    )
