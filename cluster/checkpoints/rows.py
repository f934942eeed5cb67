"""One value as bytes and back, for tables of rows. Pure; what is plain is MessagePack, all else as records travel.

None bool int float str bytes, lists of such and dicts with such keys    as MessagePack has them
a tuple                                                                  extension 1: its items
anything else that may travel                                            extension 2: a batch of one record
"""

from collections.abc import Hashable
from typing import Any

import msgspec

from cluster.runtime.columns import BadFrame
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.records import decode_batch, encode_batch
from operators.keycode import with_one_nan
from sage.base.batch import Batch
from sage.base.errors import CheckpointUnusable

_PLAIN = frozenset({type(None), bool, int, float, str, bytes})
_TUPLE = 1
_RECORD = 2

_ENCODER = msgspec.msgpack.Encoder()


class RowCodec:
    """Keys with their values; used by one thread at a time."""

    def __init__(self, types: RecordTypes, step: str) -> None:
        """`step` is named in errors."""
        self._types = types
        self._where = f"the state of step {step!r}, which is saved,"
        self._decoder = msgspec.msgpack.Decoder(ext_hook=self._unpacked)

    def encode(self, key: Hashable, value: Any) -> bytes:
        """Raises RecordUnsendable for what cannot be saved."""
        try:
            return _ENCODER.encode((self._packed(key), self._packed(value)))
        except (OverflowError, UnicodeEncodeError, RecursionError):
            return _ENCODER.encode((self._record(key), self._record(value)))

    def decode(self, row: bytes) -> tuple[Hashable, Any]:
        """Return key and value; raises CheckpointUnusable for what `encode` did not make."""
        try:
            key, value = self._decoder.decode(row)
        except (msgspec.DecodeError, BadFrame, ValueError, TypeError, RecursionError) as error:
            raise CheckpointUnusable(
                f"{self._where} is not as it was written: {error}",
                'Resume from an older checkpoint, or begin anew: resume="never".',
            ) from error
        return with_one_nan(key), value

    def _packed(self, value: Any) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is list:
            return value if _PLAIN.issuperset(map(type, value)) else [self._packed(item) for item in value]
        if kind is tuple:
            return msgspec.msgpack.Ext(_TUPLE, _ENCODER.encode([self._packed(item) for item in value]))
        if kind is dict and _PLAIN.issuperset(map(type, value)):
            return {key: self._packed(item) for key, item in value.items()}
        return self._record(value)

    def _record(self, value: Any) -> msgspec.msgpack.Ext:
        buffers = encode_batch(Batch([value]), self._types, where=self._where)
        return msgspec.msgpack.Ext(_RECORD, _ENCODER.encode([bytes(buffer) for buffer in buffers]))

    def _unpacked(self, code: int, data: memoryview) -> Any:
        items = self._decoder.decode(data)
        return tuple(items) if code == _TUPLE else decode_batch(items, self._types).values[0]
