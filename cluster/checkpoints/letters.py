"""The dead letters of a checkpoint as pieces beside those of its tasks: what each checkpoint adds. Knows no job."""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import msgspec

from cluster.checkpoints.folder import PART, CheckpointFolder
from cluster.checkpoints.manifest import Manifest
from cluster.runtime.saving import SavedPiece, SavedPieces
from sage.base.errors import CheckpointUnusable
from sage.base.ids import JobId
from sage.flow.runner import DeadLetterRecord

MAX_PIECES = 64
"""Once they are so many, all letters that are kept are written anew."""

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[DeadLetterRecord])


@dataclass(frozen=True, slots=True)
class LetterPart:
    """A file with letters that is new; `piece` is all of it."""

    piece: SavedPiece
    content: bytes


@dataclass(frozen=True, slots=True)
class HeldLetters:
    """The newest of `num` letters that a checkpoint holds, the newest last; `pieces` of the flow's own folder."""

    newest: Sequence[DeadLetterRecord] = ()
    num: int = 0
    pieces: SavedPieces = ()


NO_LETTERS = HeldLetters()


def letter_part(letters: Sequence[DeadLetterRecord], run_id: JobId, checkpoint_id: int) -> LetterPart:
    """Return letters as a file of one checkpoint, which no other run writes."""
    content = _ENCODER.encode(letters)
    name = f"{run_id}-letters-{checkpoint_id:010d}{PART}"
    return LetterPart(SavedPiece(name, 0, len(content), crc32(content)), content)


def letters_held(folder: CheckpointFolder, manifest: Manifest) -> HeldLetters:
    """Return the letters of a checkpoint; raises CheckpointUnusable."""
    letters = [letter for piece in manifest.letters for letter in _decoded(folder.piece(piece))]
    return HeldLetters(letters, manifest.num_letters, manifest.letters)


def is_due(pieces: SavedPieces) -> bool:
    """Say whether all letters are to be written anew, in one piece."""
    return not pieces or len(pieces) >= MAX_PIECES


def _decoded(content: bytes) -> list[DeadLetterRecord]:
    try:
        return _DECODER.decode(content)
    except (msgspec.DecodeError, RecursionError) as error:
        raise CheckpointUnusable(
            f"the dead letters of the checkpoint cannot be read: {error}",
            'Resume from an older checkpoint, or begin anew: resume="never".',
        ) from error
