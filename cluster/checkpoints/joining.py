"""What a task held, from the pieces of it that were written. Pure; reads nothing itself."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from cluster.checkpoints.sections import PieceHead, SectionKind, opened, unreadable
from cluster.runtime.columns import BadFrame
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.records import decode_batch
from cluster.runtime.saving import ReadAfter, ReadFrom, Reading, ReadNoMore, ReadParts, TaskState
from operators.keycode import with_one_nan
from operators.state import KEYED, StepState
from sage.base.batch import Batch
from sage.flow.dealing import PartitionRead, PartitionsRead


@dataclass(slots=True)
class _Joining:
    panes: dict[str, dict[Hashable, Any]] = field(default_factory=dict)
    heard: list[Any] = field(default_factory=list)
    grown: list[Any] = field(default_factory=list)
    held: list[Any] = field(default_factory=list)
    shared: dict[tuple[str, Hashable], Any] | None = None
    stored: list[tuple[str, int]] = field(default_factory=list)
    fixed: Any = None

    def forget_unlasting(self) -> None:
        """Forget what each piece says anew."""
        self.heard, self.held, self.shared, self.stored, self.fixed = [], [], None, [], None

    def join(self, kind: SectionKind, pane: str, batch: Batch) -> None:
        match kind:
            case SectionKind.ALL_KEYED:
                self.panes[pane] = dict(zip(batch.keys or (), batch.values, strict=True))
            case SectionKind.KEYED:
                self.panes.setdefault(pane, {}).update(zip(batch.keys or (), batch.values, strict=True))
            case SectionKind.GONE:
                for key in map(with_one_nan, batch.values):
                    self.panes.get(pane, {}).pop(key, None)
            case SectionKind.PANES:
                self.panes = {name: self.panes.get(name, {}) for name in batch.values}
            case SectionKind.HEARD:
                self.heard = list(batch.values)
            case SectionKind.GROWN:
                self.grown.extend(batch.values)
            case SectionKind.HELD:
                self.held = list(batch.values)
            case SectionKind.SHARED:
                keys = cast("Sequence[tuple[str, Hashable]]", batch.keys or ())
                self.shared = {**(self.shared or {}), **dict(zip(keys, batch.values, strict=True))}
            case SectionKind.STORED:
                self.stored = list(batch.values)
            case _:
                self.fixed = batch.values[0]

    def state(self) -> StepState:
        panes = {name: values for name, values in self.panes.items() if name != KEYED}
        keyed = self.panes.get(KEYED)
        return StepState(keyed, self.grown, self.held, self.fixed, self.shared, panes, self.heard, self.stored)


def state_from_pieces(pieces: Sequence[bytes], types: RecordTypes) -> TaskState:
    """Return what a task held, from its pieces; raises CheckpointUnusable."""
    steps: dict[str, _Joining] = {}
    waiting: list[Batch] = []
    positions: list[Reading] = []
    head: PieceHead | None = None
    for piece in pieces:
        head, sections = opened(piece)
        if head.is_whole:
            steps = {}
        waiting, positions = [], []
        for joining in steps.values():
            joining.forget_unlasting()
        for section, buffers in sections:
            try:
                batch = decode_batch(buffers, types)
            except BadFrame as error:
                raise unreadable(f"the state of step {section.step!r} cannot be read: {error.what}") from error
            if section.kind is SectionKind.WAITING:
                waiting.append(batch)
            elif section.kind is SectionKind.POSITION:
                positions.append(ReadFrom(batch.values[0]))
            elif section.kind is SectionKind.PARTITIONS:
                positions.append(ReadParts(_partitions(*batch.values)))
            else:
                steps.setdefault(section.step, _Joining()).join(section.kind, section.pane, batch)
    if head is None:
        raise unreadable("a task without any piece of its state")
    return TaskState(
        {name: joining.state() for name, joining in steps.items()},
        _reading(head, positions),
        tuple(waiting),
        head.watermark_s,
        head.has_ended,
        head.is_final,
        head.counts,
        head.num_letters,
    )


def _partitions(begun: Sequence[Sequence[Any]], ended: Sequence[str]) -> PartitionsRead:
    return PartitionsRead(tuple(PartitionRead(*each) for each in begun), tuple(ended))


def _reading(head: PieceHead, positions: Sequence[Reading]) -> Reading | None:
    if head.num_read == -1:
        return ReadNoMore()
    if head.num_read is not None:
        return ReadAfter(head.num_read)
    return positions[0] if positions else None
