"""The sections of a piece as bytes and back. Pure; knows nothing of what has changed.

    piece    length of the head (4 bytes, little end first), head (MessagePack), the buffers of its sections in order

A section is a batch of `cluster.runtime.records`: plain values, and instances of the flow's own classes.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any

import msgspec

from cluster.runtime.columns import Buffer
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.records import encode_batch
from sage.base.batch import Batch
from sage.base.errors import CheckpointUnusable

FORMAT = 2
LEN_SECTION = 2_000
"""Entries encoded at once: some 0.4 ms in which no other thread of Python has its turn."""


class SectionKind(StrEnum):
    KEYED = "keyed"  # entries of a pane that are new or changed
    ALL_KEYED = "all_keyed"  # the first of all entries of a pane: those before count no more
    GONE = "gone"  # keys of a pane
    PANES = "panes"  # the names of all panes: others are no more
    HEARD = "heard"
    GROWN = "grown"  # what was added
    HELD = "held"
    SHARED = "shared"  # entries that every instance has alike
    STORED = "stored"  # tables that were laid down
    FIXED = "fixed"
    WAITING = "waiting"
    POSITION = "position"
    PARTITIONS = "partitions"  # of a source: where each is that was begun, and which have ended


class Section(msgspec.Struct, frozen=True, array_like=True):
    step: str
    kind: SectionKind
    lens: list[int]
    pane: str = ""


class PieceHead(msgspec.Struct, frozen=True, array_like=True):
    format: int
    is_whole: bool
    has_ended: bool
    is_final: bool
    watermark_s: float
    num_read: int | None  # -1: the source has ended
    counts: tuple[int, ...]
    num_letters: int
    sections: list[Section]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(PieceHead)


@dataclass(slots=True)
class Encoding:
    """Sections that are bytes already."""

    types: RecordTypes
    sections: list[Section] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)

    def add(self, step: str, kind: SectionKind, batch: Batch, pane: str = "") -> None:
        buffers = encode_batch(batch, self.types, where=f"the state of step {step!r}, which is saved,")
        self.sections.append(Section(step, kind, [len(buffer) for buffer in buffers], pane))
        self.buffers.extend(bytes(buffer) for buffer in buffers)  # arrays may go on to change

    def add_keyed(
        self,
        step: str,
        pane: str,
        keys: Iterable[Hashable],
        values: Iterable[Any],
        *,
        is_all: bool,
    ) -> None:
        """Add entries of a pane; where they are all, those before count no more.

        No pair is made of a key and its value: so many of them would have the garbage collector look at everything.
        """
        left_keys, left_values = iter(keys), iter(values)
        kind = SectionKind.ALL_KEYED if is_all else SectionKind.KEYED
        while (part := list(islice(left_keys, LEN_SECTION))) or kind is SectionKind.ALL_KEYED:
            self.add(step, kind, Batch(list(islice(left_values, len(part))), part), pane)
            kind = SectionKind.KEYED

    def add_shared(self, step: str, shared: Mapping[tuple[str, Hashable], Any]) -> None:
        keys: list[Hashable] = list(shared)
        values = list(shared.values())
        for start in range(0, len(keys), LEN_SECTION):
            end = start + LEN_SECTION
            self.add(step, SectionKind.SHARED, Batch(values[start:end], keys[start:end]))

    def add_gone(self, step: str, pane: str, keys: Sequence[Hashable]) -> None:
        if keys:
            self.add(step, SectionKind.GONE, Batch(keys), pane)


def bytes_of_piece(head: PieceHead, buffers: Sequence[Buffer]) -> bytes:
    encoded = _ENCODER.encode(head)
    return b"".join((len(encoded).to_bytes(4, "little"), encoded, *buffers))


def opened(piece: bytes) -> tuple[PieceHead, list[tuple[Section, list[Buffer]]]]:
    """Return the head of a piece, and the buffers of each section; raises CheckpointUnusable."""
    view = memoryview(piece)
    start = 4 + int.from_bytes(view[:4], "little")
    try:
        head = _DECODER.decode(view[4:start])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unreadable(f"a piece of {len(piece)} bytes has no head: {error}") from error
    if head.format != FORMAT:
        raise CheckpointUnusable(
            f"the checkpoint has format {head.format}, and this version reads {FORMAT}",
            'Resume it by the version that wrote it, or begin anew: resume="never".',
        )
    return head, list(_sections(head, view, start))


def steps_in_piece(piece: bytes) -> set[str]:
    """Return the steps of which a piece has something; raises CheckpointUnusable."""
    return {section.step for section, _ in opened(piece)[1]} - {""}


def _sections(head: PieceHead, view: memoryview, start: int) -> Iterator[tuple[Section, list[Buffer]]]:
    for section in head.sections:
        buffers: list[Buffer] = []
        for length in section.lens:
            buffers.append(view[start : start + length])
            start += length
        yield section, buffers
    if start != len(view):
        raise unreadable(f"a piece of {len(view)} bytes whose sections take {start}")


def unreadable(what: str) -> CheckpointUnusable:
    return CheckpointUnusable(what, 'Resume from an older checkpoint, or begin anew: resume="never".')
