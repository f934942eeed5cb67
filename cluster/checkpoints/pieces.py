"""What a task holds as pieces: a piece is all of it, or what has changed since the piece before. Pure.

Of keys that were touched, or whose values may change in place, a piece is made at once, on the task's thread; all else
is found and encoded later, elsewhere, a slice at a time.
"""

from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass

from cluster.checkpoints.changes import are_unchanging, changes
from cluster.checkpoints.sections import FORMAT, LEN_SECTION, Encoding, PieceHead, SectionKind, bytes_of_piece
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.saving import ReadAfter, ReadFrom, ReadNoMore, ReadParts, TaskState
from operators.state import StepState, Values
from sage.base.batch import Batch
from sage.base.errors import CheckpointUnusable

MAX_PIECES = 64
"""Pieces of one task; then all is written anew."""


PaneOfStep = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Left:
    """A pane that nobody changes any more, to be encoded: all of `values`, or what differs from the copy before.

    `is_trusted`: nobody has looked whether values can change in place; they could not the time before.
    """

    step: str
    pane: str
    values: Values
    is_compared: bool = False
    is_trusted: bool = False


@dataclass(frozen=True, slots=True)
class FrozenState:
    """A state of which nothing changes any more: what could is bytes already. The rest is encoded at leisure."""

    state: TaskState
    encoding: Encoding
    left: tuple[_Left, ...]
    is_whole: bool

    def lasting(self) -> Collection[StepState]:
        """Return the steps whose keys are still needed: not those of a task that has said all."""
        return () if self.state.is_final else self.state.steps.values()


def frozen(
    state: TaskState, types: RecordTypes, *, is_whole: bool = True, plain: Collection[PaneOfStep] = ()
) -> FrozenState:
    """Encode at once what others may change in place; raises RecordUnsendable for what cannot be saved.

    `is_whole`: all that the task holds is to be in the piece; else what was touched since the state before, which
    became a piece, is enough. `plain`: panes whose values are looked at later, and likely cannot change.
    """
    encoding = Encoding(types)
    left: list[_Left] = []
    for name, step in state.steps.items():
        if not state.is_final:  # what has said all needs its keys no more
            left += _frozen_panes(name, step, encoding, plain, is_whole=is_whole)
            if step.stored:
                encoding.add(name, SectionKind.STORED, Batch(list(step.stored)))
        if step.heard:
            encoding.add(name, SectionKind.HEARD, Batch(step.heard))
        if step.held:
            encoding.add(name, SectionKind.HELD, Batch(step.held))
        if step.shared:
            encoding.add_shared(name, step.shared)
        if step.fixed is not None:
            encoding.add(name, SectionKind.FIXED, Batch([step.fixed]))
    for batch in state.waiting:
        encoding.add("", SectionKind.WAITING, batch)
    if isinstance(state.reading, ReadFrom):
        encoding.add("", SectionKind.POSITION, Batch([state.reading.position]))
    if isinstance(state.reading, ReadParts):
        read = state.reading.read
        begun = [(each.name, each.position, each.latest_s) for each in read.begun]
        encoding.add("", SectionKind.PARTITIONS, Batch([begun, list(read.ended)]))
    return FrozenState(state, encoding, tuple(left), is_whole)


def _frozen_panes(
    name: str, step: StepState, encoding: Encoding, plain: Collection[PaneOfStep], *, is_whole: bool
) -> list[_Left]:
    panes = step.all_panes()
    left: list[_Left] = []
    for pane, values in panes.items():
        touched = None if is_whole else step.touched.get(pane)
        if touched is not None:
            found = _only(values, touched)
            encoding.add_gone(name, pane, [key for key in touched if key not in found])
            if are_unchanging(found.values()):
                left.append(_Left(name, pane, found))
            else:
                encoding.add_keyed(name, pane, found, found.values(), is_all=False)
        elif (name, pane) in plain and pane not in step.touched:
            left.append(_Left(name, pane, values, is_compared=True, is_trusted=True))
        elif are_unchanging(values.values()):
            left.append(_Left(name, pane, values, is_compared=pane not in step.touched))
        else:
            encoding.add_keyed(name, pane, values, values.values(), is_all=True)
    if step.panes:
        encoding.add(name, SectionKind.PANES, Batch(list(panes)))
    return left


def _only(values: Values, keys: Collection[Hashable]) -> Values:
    return {key: values[key] for key in keys if key in values}


class PieceEncoder:
    """Makes the pieces of one task, one after the other; used by one thread at a time.

    `between` is called between two slices, a fraction of a millisecond of work each.
    """

    def __init__(self, between: Callable[[], object] = lambda: None) -> None:
        self._between = between
        self._copies: dict[PaneOfStep, Values] = {}
        self._plain: frozenset[PaneOfStep] = frozenset()
        self._num_grown: dict[str, int] = {}
        self._len_whole = 0
        self._len_changes = 0
        self._num_pieces = 0

    def is_due(self) -> bool:
        """Say whether the next piece is to be whole; on any thread."""
        too_long = self._len_changes > max(self._len_whole, 1 << 16)
        return self._num_pieces == 0 or self._num_pieces >= MAX_PIECES or too_long

    def plain(self) -> frozenset[PaneOfStep]:
        """Return the panes in which all values of the last piece were such as cannot change; on any thread."""
        return self._plain

    def encode(self, frozen_state: FrozenState) -> tuple[bytes, bool]:
        """Return a piece, and whether it is all that the task holds.

        Raises RecordUnsendable, and CheckpointUnusable where it says what has changed since a piece that was not kept,
        or where values can change that could not before: the next piece is made at once then.
        """
        state, encoding = frozen_state.state, frozen_state.encoding
        is_whole = frozen_state.is_whole or (state.is_final and self._num_pieces == 0)
        if is_whole:
            self._copies, self._num_grown = {}, {}
        elif self._num_pieces == 0:
            raise CheckpointUnusable("the checkpoint before this one was not kept", "The next one holds all.")
        copies, self._copies = self._copies, {}
        self._plain = frozenset()
        for left in frozen_state.left:
            before = copies.pop((left.step, left.pane), None) if left.is_compared else {}
            self._encode_pane(encoding, left, before or {}, is_all=is_whole or before is None)
        self._plain = frozenset(pane for pane, values in self._copies.items() if values)  # what is empty tells nothing
        for name, step in state.steps.items():
            self._encode_grown(encoding, name, step)
        piece = bytes_of_piece(_head(state, encoding, is_whole=is_whole), encoding.buffers)
        if is_whole:
            self._len_whole, self._len_changes, self._num_pieces = len(piece), 0, 1
        else:
            self._len_changes += len(piece)
            self._num_pieces += 1
        return piece, is_whole

    def forget(self) -> None:
        """Make the next piece whole: the last ones were not kept."""
        self._num_pieces = 0

    def _encode_pane(self, encoding: Encoding, left: _Left, before: Values, *, is_all: bool) -> None:
        step, pane = left.step, left.pane
        if is_all:
            before = {}
            encoding.add_keyed(step, pane, (), (), is_all=True)
        for keys, values, gone in changes(before, left.values):
            if left.is_trusted and not are_unchanging(values):
                raise CheckpointUnusable(f"values of step {step!r} can change in place now", "The next one is whole.")
            encoding.add_keyed(step, pane, keys, values, is_all=False)
            encoding.add_gone(step, pane, gone)
            self._between()
        if left.is_compared:
            self._copies[step, pane] = left.values

    def _encode_grown(self, encoding: Encoding, name: str, step: StepState) -> None:
        num_grown = len(step.grown)
        for start in range(self._num_grown.get(name, 0), num_grown, LEN_SECTION):
            added = step.grown[start : min(start + LEN_SECTION, num_grown)]
            encoding.add(name, SectionKind.GROWN, Batch(list(added)))
            self._between()
        self._num_grown[name] = num_grown


def _head(state: TaskState, encoding: Encoding, *, is_whole: bool) -> PieceHead:
    num_read = {ReadNoMore: -1, ReadAfter: getattr(state.reading, "num_records", None)}.get(type(state.reading))
    return PieceHead(
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
