"""What a task holds as bytes and back: a piece is all of it, or what has changed since the piece before. Pure.

    piece    length of the head (4 bytes, little end first), head (MessagePack), the buffers of its sections in order

A section is a batch of `cluster.runtime.records`: plain values, and instances of the flow's own classes.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, cast

import msgspec

from cluster.checkpoints.changes import are_unchanging, changed_items
from cluster.runtime.columns import BadFrame, Buffer
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.records import decode_batch, encode_batch
from cluster.runtime.saving import ReadAfter, ReadFrom, Reading, ReadNoMore, TaskState
from operators.state import State, StepState
from sage.base.batch import Batch
from sage.base.errors import CheckpointUnusable

FORMAT = 1
LEN_SECTION = 5_000
"""Entries encoded at once: about a millisecond in which no other thread of Python has its turn."""

MAX_PIECES = 64
"""Pieces of one task; then all is written anew."""


class SectionKind(StrEnum):
    KEYED = "keyed"  # entries that are new or changed
    ALL_KEYED = "all_keyed"  # the first of all entries: those before count no more
    GONE = "gone"  # keys
    GROWN = "grown"  # what was added
    HELD = "held"
    SHARED = "shared"  # entries that every instance has alike
    FIXED = "fixed"
    WAITING = "waiting"
    POSITION = "position"


class _Section(msgspec.Struct, frozen=True, array_like=True):
    step: str
    part: SectionKind
    lens: list[int]


class _Head(msgspec.Struct, frozen=True, array_like=True):
    format: int
    is_whole: bool
    has_ended: bool
    is_final: bool
    watermark_s: float
    num_read: int | None  # -1: the source has ended
    counts: tuple[int, ...]
    num_letters: int
    sections: list[_Section]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Head)


@dataclass(slots=True)
class _Step:
    """What was saved of one step so far."""

    keyed: Mapping[Hashable, Any] | None = None
    num_grown: int = 0


@dataclass(slots=True)
class _Encoding:
    types: RecordTypes
    sections: list[_Section] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)

    def add(self, step: str, part: SectionKind, batch: Batch) -> None:
        buffers = encode_batch(batch, self.types, where=f"the state of step {step!r}, which is saved,")
        self.sections.append(_Section(step, part, [len(buffer) for buffer in buffers]))
        self.buffers.extend(bytes(buffer) for buffer in buffers)  # arrays may go on to change

    def add_keyed(self, step: str, keys: Sequence[Hashable], values: Sequence[Any], *, is_all: bool) -> None:
        for start in range(0, len(keys), LEN_SECTION):
            part = SectionKind.ALL_KEYED if is_all and start == 0 else SectionKind.KEYED
            end = start + LEN_SECTION
            self.add(step, part, Batch(values[start:end], keys[start:end]))
        if is_all and not keys:
            self.add(step, SectionKind.ALL_KEYED, Batch([], []))

    def add_shared(self, step: str, shared: Mapping[tuple[str, Hashable], Any]) -> None:
        keys: list[Hashable] = list(shared)
        values = list(shared.values())
        for start in range(0, len(keys), LEN_SECTION):
            end = start + LEN_SECTION
            self.add(step, SectionKind.SHARED, Batch(values[start:end], keys[start:end]))


@dataclass(frozen=True, slots=True)
class FrozenState:
    """A state of which nothing changes any more: what could is bytes already. The rest is encoded at leisure."""

    state: TaskState
    encoding: _Encoding


def frozen(state: TaskState, types: RecordTypes) -> FrozenState:
    """Encode at once what others may change in place; raises RecordUnsendable for what cannot be saved."""
    encoding = _Encoding(types)
    left: dict[str, StepState] = {}
    for name, step in state.steps.items():
        if step.keyed is not None and not are_unchanging(step.keyed.values()):
            encoding.add_keyed(name, list(step.keyed), list(step.keyed.values()), is_all=True)
            step = replace(step, keyed=None)
        if step.held:
            encoding.add(name, SectionKind.HELD, Batch(step.held))
        if step.shared:
            encoding.add_shared(name, step.shared)
        if step.fixed is not None:
            encoding.add(name, SectionKind.FIXED, Batch([step.fixed]))
        left[name] = replace(step, held=(), shared=None, fixed=None)
    for batch in state.waiting:
        encoding.add("", SectionKind.WAITING, batch)
    if isinstance(state.reading, ReadFrom):
        encoding.add("", SectionKind.POSITION, Batch([state.reading.position]))
    return FrozenState(replace(state, steps=left, waiting=()), encoding)


class PieceEncoder:
    """Makes the pieces of one task, one after the other; used by one thread at a time."""

    def __init__(self) -> None:
        self._steps: dict[str, _Step] = {}
        self._len_whole = 0
        self._len_changes = 0
        self._num_pieces = 0

    def encode(self, frozen_state: FrozenState) -> tuple[bytes, bool]:
        """Return a piece, and whether it is all that the task holds; raises RecordUnsendable."""
        is_whole = self._is_due()
        if is_whole:
            self._steps = {}
        encoding = frozen_state.encoding
        for name, step in frozen_state.state.steps.items():
            self._encode_step(encoding, name, step, is_final=frozen_state.state.is_final)
        piece = _piece(frozen_state.state, encoding, is_whole=is_whole)
        if is_whole:
            self._len_whole, self._len_changes, self._num_pieces = len(piece), 0, 1
        else:
            self._len_changes += len(piece)
            self._num_pieces += 1
        return piece, is_whole

    def forget(self) -> None:
        """Make the next piece whole: the last ones were not kept."""
        self._num_pieces = 0

    def _is_due(self) -> bool:
        too_long = self._len_changes > max(self._len_whole, 1 << 16)
        return self._num_pieces == 0 or self._num_pieces >= MAX_PIECES or too_long

    def _encode_step(self, encoding: _Encoding, name: str, step: StepState, *, is_final: bool) -> None:
        saved = self._steps.setdefault(name, _Step())
        if step.keyed is None:
            saved.keyed = None  # all of it is encoded already, or there is none
        elif not is_final:  # what has said all needs its keys no more
            if saved.keyed is None:
                encoding.add_keyed(name, list(step.keyed), list(step.keyed.values()), is_all=True)
            else:
                keys, values, gone = changed_items(saved.keyed, step.keyed)
                encoding.add_keyed(name, keys, values, is_all=False)
                if gone:
                    encoding.add(name, SectionKind.GONE, Batch(gone))
            saved.keyed = step.keyed
        num_grown = len(step.grown)
        for start in range(saved.num_grown, num_grown, LEN_SECTION):
            added = step.grown[start : min(start + LEN_SECTION, num_grown)]
            encoding.add(name, SectionKind.GROWN, Batch(list(added)))
        saved.num_grown = num_grown


def _piece(state: TaskState, encoding: _Encoding, *, is_whole: bool) -> bytes:
    num_read = {ReadNoMore: -1, ReadAfter: getattr(state.reading, "num_records", None)}.get(type(state.reading))
    head = _ENCODER.encode(
        _Head(
            FORMAT,
            is_whole,
            state.has_ended,
            state.is_final,
            state.watermark_s,
            num_read,
            state.counts,
            state.num_letters,
            encoding.sections,
        )
    )
    return b"".join((len(head).to_bytes(4, "little"), head, *encoding.buffers))


@dataclass(slots=True)
class _Joining:
    keyed: dict[Hashable, Any] | None = None
    grown: list[Any] = field(default_factory=list)
    held: list[Any] = field(default_factory=list)
    shared: dict[tuple[str, Hashable], Any] | None = None
    fixed: Any = None


def state_from_pieces(pieces: Sequence[bytes], types: RecordTypes) -> TaskState:
    """Return what a task held, from its pieces; raises CheckpointUnusable."""
    steps: dict[str, _Joining] = {}
    waiting: list[Batch] = []
    positions: list[Any] = []
    head: _Head | None = None
    for piece in pieces:
        head, sections = _opened(piece)
        if head.is_whole:
            steps = {}
        waiting, positions = [], []
        for joining in steps.values():
            joining.held, joining.shared, joining.fixed = [], None, None
        for section, buffers in sections:
            try:
                batch = decode_batch(buffers, types)
            except BadFrame as error:
                raise _unreadable(f"the state of step {section.step!r} cannot be read: {error.what}") from error
            if section.part is SectionKind.WAITING:
                waiting.append(batch)
            elif section.part is SectionKind.POSITION:
                positions.append(batch.values[0])
            else:
                _join(steps.setdefault(section.step, _Joining()), section.part, batch)
    if head is None:
        raise _unreadable("a task without any piece of its state")
    return TaskState(
        _states(steps),
        _reading(head, positions),
        tuple(waiting),
        head.watermark_s,
        head.has_ended,
        head.is_final,
        head.counts,
        head.num_letters,
    )


def steps_in_piece(piece: bytes) -> set[str]:
    """Return the steps of which a piece has something; raises CheckpointUnusable."""
    return {section.step for section, _ in _opened(piece)[1]} - {""}


def _states(steps: Mapping[str, _Joining]) -> State:
    return {name: StepState(j.keyed, j.grown, j.held, j.fixed, j.shared) for name, j in steps.items()}


def _join(step: _Joining, part: SectionKind, batch: Batch) -> None:
    match part:
        case SectionKind.ALL_KEYED:
            step.keyed = dict(zip(batch.keys or (), batch.values, strict=True))
        case SectionKind.KEYED:
            step.keyed = step.keyed if step.keyed is not None else {}
            step.keyed.update(zip(batch.keys or (), batch.values, strict=True))
        case SectionKind.GONE:
            for key in batch.values:
                (step.keyed or {}).pop(key, None)
        case SectionKind.GROWN:
            step.grown.extend(batch.values)
        case SectionKind.HELD:
            step.held = list(batch.values)
        case SectionKind.SHARED:
            keys = cast("Sequence[tuple[str, Hashable]]", batch.keys or ())
            step.shared = {**(step.shared or {}), **dict(zip(keys, batch.values, strict=True))}
        case _:
            step.fixed = batch.values[0]


def _reading(head: _Head, positions: Sequence[Any]) -> Reading | None:
    if head.num_read == -1:
        return ReadNoMore()
    if head.num_read is not None:
        return ReadAfter(head.num_read)
    return ReadFrom(positions[0]) if positions else None


def _opened(piece: bytes) -> tuple[_Head, list[tuple[_Section, list[Buffer]]]]:
    view = memoryview(piece)
    start = 4 + int.from_bytes(view[:4], "little")
    try:
        head = _DECODER.decode(view[4:start])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(f"a piece of {len(piece)} bytes has no head: {error}") from error
    if head.format != FORMAT:
        raise CheckpointUnusable(
            f"the checkpoint has format {head.format}, and this version reads {FORMAT}",
            'Resume it by the version that wrote it, or begin anew: resume="never".',
        )
    return head, list(_sections(head, view, start))


def _sections(head: _Head, view: memoryview, start: int) -> Iterator[tuple[_Section, list[Buffer]]]:
    for section in head.sections:
        buffers: list[Buffer] = []
        for length in section.lens:
            buffers.append(view[start : start + length])
            start += length
        yield section, buffers
    if start != len(view):
        raise _unreadable(f"a piece of {len(view)} bytes whose sections take {start}")


def _unreadable(what: str) -> CheckpointUnusable:
    return CheckpointUnusable(what, 'Resume from an older checkpoint, or begin anew: resume="never".')
