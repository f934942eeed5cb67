"""A savepoint: all of a checkpoint in a folder of its own, which no run writes and nobody forgets. Knows no actor."""

from zlib import crc32

import msgspec

from cluster.checkpoints.folder import CheckpointFolder
from cluster.checkpoints.manifest import Manifest, SavedTask
from cluster.runtime.saving import SavedPiece
from sage.base.errors import NameTaken

_PART = "savepoint.part"


def write_savepoint(manifest: Manifest, source: CheckpointFolder, target: CheckpointFolder) -> None:
    """Copy, and check on the way, what the checkpoint consists of.

    Raises: NameTaken where the folder has checkpoints already, CheckpointUnusable, CheckpointUnusable.
    """
    if target.find().next_id > 1:
        raise NameTaken("the folder of the savepoint holds another checkpoint", "Name one that is new.")
    chunks: list[bytes] = []
    tasks: list[SavedTask] = []
    offset_bytes = 0
    for task in manifest.tasks:
        pieces: list[SavedPiece] = []
        for piece in task.pieces:
            content = source.piece(piece)
            chunks.append(content)
            pieces.append(SavedPiece(_PART, offset_bytes, len(content), crc32(content)))
            offset_bytes += len(content)
        tasks.append(msgspec.structs.replace(task, pieces=tuple(pieces)))
    target.write(_PART, chunks)
    target.complete(msgspec.structs.replace(manifest, tasks=tuple(tasks)), 1)
