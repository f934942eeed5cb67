"""Columns of values as they travel: a closed union, in MessagePack. Knows nothing of records.

Every column has as many values as the records, or as the containers around it, have. `list`, `tuple`, `set` and
`frozenset` are one shape: how many items each has, and all items in one column below.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from cluster.runtime.words import Kind
from sage.base.errors import InternalError

MAX_DEPTH = 32
MAX_CONTAINERS = 1 << 21  # per batch: a message of few bytes cannot ask for much memory

Buffer = bytes | memoryview
Scalar = None | bool | int | float | str
Length = Annotated[int, Meta(ge=0, le=1 << 40)]
Number = Annotated[int, Meta(ge=0, le=1 << 20)]


class BadFrame(InternalError):
    """What came is no message of this protocol; whoever sent it is not to be trusted any more."""


class _Column(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    pass


class Plain(_Column, frozen=True, tag="p"):
    """None, bool, int of 64 bits, float and str, as MessagePack has them."""

    values: Sequence[Scalar]


class Binary(_Column, frozen=True, tag="b"):
    """`kind`: bytes, or those of a UUID; int beyond 64 bits, two's complement, big end first; str with half surrogates,
    as UTF-8.
    """

    kind: Literal["bytes", "int", "str", "uuid"]
    values: list[bytes]


class Moments(_Column, frozen=True, tag="m"):
    """ISO 8601; `~` after a datetime is its fold."""

    kind: Literal["date", "datetime"]
    values: list[str]


class Words(_Column, frozen=True, tag="w"):
    """What is a text each: see `words`."""

    kind: Kind
    values: list[str]


class Items(_Column, frozen=True, tag="i"):
    """Containers of `kind`; `lengths` is one number, 1 or more, where all have it."""

    kind: Literal["list", "tuple", "set", "frozenset"]
    lengths: Length | list[Length]
    items: "Column"


class Rows(_Column, frozen=True, tag="r"):
    """Tuples of one length, 1 or more: a column a place."""

    columns: "list[Column]"


class Flat(_Column, frozen=True, tag="f"):
    """Dicts with the same keys whose values are plain, or lists of such: row by row.

    As columns they take a fifth less room, but a quarter more time where they are read, and that is where records are
    waited for (measured 2026-11-22, five fields: 0.24 against 0.31 us a record; written in 0.26 against 0.28).
    """

    rows: Annotated[Sequence[dict[str, Scalar | list[Scalar]]], Meta(max_length=MAX_CONTAINERS)]


class Records(_Column, frozen=True, tag="d"):
    """Dicts with the same keys in the same order, 1 or more: a column a key."""

    names: list[str]
    columns: "list[Column]"


class Maps(_Column, frozen=True, tag="k"):
    """Any dicts: how many entries each has, all keys and all values."""

    lengths: list[Length]
    keys: "Column"
    values: "Column"


class Objects(_Column, frozen=True, tag="o"):
    """`num` instances of the class that the receiver knows by `name`: a column a field."""

    name: str
    num: Length
    columns: "list[Column]"


class Members(_Column, frozen=True, tag="e"):
    """Members, by their names, of the Enum that the receiver knows by `name`."""

    name: str
    members: list[str]


class Arrays(_Column, frozen=True, tag="a"):
    """`num` NumPy arrays or scalars of one dtype; one shape where all have it.

    Their bytes are the message's buffer number `buffer`, one after the other, or from that number on a buffer each.
    """

    kind: Literal["array", "scalar"]
    dtype: str
    num: Length
    shapes: list[tuple[Length, ...]]
    buffer: Number
    is_joined: bool


class Mixed(_Column, frozen=True, tag="x"):
    """Values of several sorts: `choice[i]` is the number of the part that has the next one."""

    choice: list[Number]
    parts: "list[Column]"


Column = Plain | Binary | Moments | Words | Items | Rows | Flat | Records | Maps | Objects | Members | Arrays | Mixed
