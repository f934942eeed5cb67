"""NumPy arrays to buffers and back, without copying what is large. Knows nothing of messages.

Imported only where an array travels: NumPy takes memory that a node without arrays need not spend.
"""

import re
from collections.abc import Sequence
from itertools import repeat
from math import prod
from operator import attrgetter
from typing import Any

import numpy as np

from cluster.runtime.columns import Arrays, BadFrame, Buffer

JOINED_BYTES = 64 * 1024  # below, a copy costs less than a frame of its own (measured 2026-11-22: 3 us for 64 KiB)

_DTYPE_OF, _SHAPE_OF, _LEN_OF = attrgetter("dtype"), attrgetter("shape"), attrgetter("nbytes")

# No objects and no structures: a dtype is a word, not a description.
_UNIT = r"\[\d{0,6}(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\]"
_DTYPE = re.compile(rf"[<>|=](?:[biufc]\d{{1,2}}|[mM]8(?:{_UNIT})?|[US][1-9]\d{{0,6}})")


def dtypes_of(values: Sequence[Any]) -> list[str] | None:
    """Return the dtype of each array or scalar in a word, or None where one of them has none that travels."""
    if not all(map(hasattr, values, repeat("dtype"))):
        return None
    dtypes = list(map(_DTYPE_OF, values))
    words = {dtype: dtype.str for dtype in set(dtypes)}
    if any(_DTYPE.fullmatch(word) is None for word in words.values()):
        return None
    if isinstance(values[0], np.str_ | np.bytes_) and any(value[-1:] in ("\0", b"\0") for value in values):
        return None  # text loses at its end what NumPy takes for padding
    return [words[dtype] for dtype in dtypes]


def arrays_column(values: Sequence[Any], num_buffers: int) -> tuple[Arrays, list[Buffer]]:
    """Return the column of arrays, or of scalars, of one dtype, and its buffers; the first is number `num_buffers`."""
    dtype = values[0].dtype
    if not isinstance(values[0], np.ndarray):
        raw = _raw(np.array(values, dtype=dtype))
        return Arrays("scalar", dtype.str, len(values), [()], num_buffers, True), [raw]
    shapes = list(map(_SHAPE_OF, values))
    if len(set(shapes)) == 1:
        del shapes[1:]
    is_joined = len(values) > 1 and sum(map(_LEN_OF, values)) < JOINED_BYTES * len(values)
    column = Arrays("array", dtype.str, len(values), shapes, num_buffers, is_joined)
    return column, [_joined(values)] if is_joined else list(map(_raw, values))


def arrays_from_column(column: Arrays, buffers: Sequence[Buffer]) -> list[Any]:
    """Return arrays that are views of `buffers`; raises BadFrame, or ValueError, where they do not fit."""
    if _DTYPE.fullmatch(column.dtype) is None:
        raise BadFrame(f"an array of dtype {column.dtype[:20]!r}")
    dtype = np.dtype(column.dtype)
    if len(column.shapes) not in (1, column.num):
        raise BadFrame(f"{len(column.shapes)} shapes of {column.num} arrays")
    if column.kind == "scalar":
        return list(_array(buffers[column.buffer], dtype, (column.num,)))
    if not column.is_joined:
        shapes = column.shapes * column.num if len(column.shapes) == 1 else column.shapes
        own = buffers[column.buffer : column.buffer + column.num]
        return [_array(buffer, dtype, shape) for buffer, shape in zip(own, shapes, strict=True)]
    if len(column.shapes) == 1 and column.shapes[0]:
        return list(_array(buffers[column.buffer], dtype, (column.num, *column.shapes[0])))
    shapes = column.shapes * column.num if len(column.shapes) == 1 else column.shapes  # an item of a row is no array
    return _cut(memoryview(buffers[column.buffer]), dtype, shapes)


def _cut(joined: memoryview, dtype: "np.dtype[Any]", shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    made, start = [], 0
    for shape in shapes:
        end = start + prod(shape) * dtype.itemsize
        made.append(_array(joined[start:end], dtype, shape))
        start = end
    if start != len(joined):
        raise BadFrame(f"arrays of {start} bytes in a buffer of {len(joined)}")
    return made


def _array(buffer: Buffer, dtype: "np.dtype[Any]", shape: tuple[int, ...]) -> Any:
    if len(buffer) != prod(shape) * dtype.itemsize:
        raise BadFrame(f"an array of {prod(shape)} items of {dtype.itemsize} bytes in a buffer of {len(buffer)}")
    if len(buffer) == 0:
        return np.empty(shape, dtype)
    return np.frombuffer(buffer, dtype).reshape(shape)


def _joined(values: Sequence[Any]) -> bytes:
    try:
        return b"".join(values)
    except (TypeError, ValueError, BufferError):  # not in one piece, or of a dtype that has no buffer
        return b"".join(map(_raw, values))


def _raw(array: Any) -> memoryview:
    """Return the array's own bytes; copied only where they do not lie in one piece."""
    raw: memoryview = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    return raw
