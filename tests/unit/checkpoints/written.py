"""A folder with checkpoints of one task, as tests need it. Knows no test."""

from collections.abc import Hashable, Mapping
from typing import Any
from zlib import crc32

from cluster.checkpoints.disk import Disk
from cluster.checkpoints.folder import CheckpointFolder
from cluster.checkpoints.joining import state_from_pieces
from cluster.checkpoints.manifest import Manifest, SavedTask
from cluster.checkpoints.pieces import PieceEncoder, frozen
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.saving import SavedPiece, SavedPieces, TaskState
from operators.state import StepState
from sage.base.ids import JobId
from sage.flow.flow import Flow
from sage.flow.graph import Graph
from sage.flow.state_form_value import StateForm

TYPES = RecordTypes()


def graph_of(name: str = "count") -> Graph:
    flow = Flow("words")
    flow.from_collection(["a"]).key_by(len).count().named(name).for_each(print)
    return flow.graph()


class Written:
    """A folder in which `num` checkpoints were completed; `states[id]` is what the one task held."""

    def __init__(
        self,
        disk: Disk,
        num: int,
        *,
        num_keys: int = 10,
        num_kept: int = 100,
        num_changed: int = 1,
        forms: Mapping[str, StateForm] = {},
        dropped: tuple[str, ...] = (),
    ) -> None:
        self.disk = disk
        self.folder = CheckpointFolder(disk, "the folder")
        self.states: dict[int, dict[Hashable, Any]] = {}
        self._encoder = PieceEncoder()
        self._num_changed = num_changed
        self._forms = forms
        self._dropped = dropped
        self._pieces: SavedPieces = ()
        self._values: dict[Hashable, Any] = dict.fromkeys(range(num_keys), 0)
        disk.names()
        for checkpoint_id in range(1, num + 1):
            self.add(checkpoint_id, num_kept)

    def add(self, checkpoint_id: int, num_kept: int = 100) -> None:
        for number in range(self._num_changed):
            self._values[(checkpoint_id + number) % len(self._values)] = 1000 * checkpoint_id
        state = TaskState(steps={"count": StepState(keyed=self._values.copy())})
        content, is_whole = self._encoder.encode(frozen(state, TYPES, is_whole=self._encoder.is_due()))
        piece = SavedPiece(f"{checkpoint_id}.part", 0, len(content), crc32(content))
        self._pieces = (piece,) if is_whole else (*self._pieces, piece)
        self.folder.write(piece.file, [content])
        task = SavedTask(("key_by", "count"), 0, 1, self._pieces)
        manifest = Manifest(
            checkpoint_id, "words", JobId("job-1"), 1.0, (task,), forms=self._forms, dropped=self._dropped
        )
        self.folder.complete(manifest, num_kept)
        self.states[checkpoint_id] = self._values.copy()

    def served(self) -> tuple[int | None, object]:
        """Return the newest checkpoint that is good, and what it says."""
        found = self.folder.find().newest
        if found is None:
            return None, None
        pieces = [self.folder.piece(piece) for piece in found.tasks[0].pieces]
        return found.checkpoint_id, state_from_pieces(pieces, TYPES).steps["count"].keyed
