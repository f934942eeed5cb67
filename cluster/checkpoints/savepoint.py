"""A savepoint: all of a checkpoint in a folder of its own, which no run writes and nobody forgets. Knows no actor."""

from zlib import crc32

import msgspec

from cluster.checkpoints.folder import CheckpointFolder
from cluster.checkpoints.manifest import Manifest
from cluster.runtime.saving import SavedPiece, SavedPieces
from sage.base.errors import NameTaken

_PART = "savepoint.part"


def write_savepoint(manifest: Manifest, source: CheckpointFolder, target: CheckpointFolder) -> None:
    """Copy, and check on the way, what the checkpoint consists of.

    Raises: NameTaken where the folder has checkpoints already, CheckpointUnusable, CheckpointUnusable.
    """
    if target.find().next_id > 1:
        raise NameTaken("the folder of the savepoint holds another checkpoint", "Name one that is new.")
    chunks: list[bytes] = []
    len_bytes = 0

    def copied(pieces: SavedPieces) -> SavedPieces:
        nonlocal len_bytes
        copies: list[SavedPiece] = []
        for piece in pieces:
            if piece.is_store:
                source.copy_store(piece.file, target)
                copies.append(target.store(piece.file))
                continue
            content = source.piece(piece)
            chunks.append(content)
            copies.append(SavedPiece(_PART, len_bytes, len(content), crc32(content)))
            len_bytes += len(content)
        return tuple(copies)

    tasks = tuple(msgspec.structs.replace(task, pieces=copied(task.pieces)) for task in manifest.tasks)
    letters = copied(manifest.letters)
    target.write(_PART, chunks)
    target.complete(msgspec.structs.replace(manifest, tasks=tasks, letters=letters), 1)
