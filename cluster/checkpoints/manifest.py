"""What a complete checkpoint consists of: a line with a checksum, then JSON that people can read. Pure.

sage-checkpoint FORMAT CRC32 LENGTH
{"checkpoint_id": 7, "flow": "orders", "tasks": [...], ...}
"""

from collections.abc import Mapping
from zlib import crc32

import msgspec

from cluster.runtime.saving import SavedPiece, SavedPieces
from sage.base.errors import CheckpointUnusable
from sage.base.ids import JobId
from sage.flow.state_form_value import StateForm

MAGIC = b"sage-checkpoint"
FORMAT = 1
SUFFIX = ".manifest"


class SavedTask(msgspec.Struct, frozen=True):
    """The state of one instance of a chain of steps, by their names."""

    steps: tuple[str, ...]
    instance: int
    parallelism: int
    pieces: SavedPieces


class Manifest(msgspec.Struct, frozen=True):
    """`run_id`: the run that took it; `ended_unix_s`: when it was complete.

    `letters`: where the newest dead letters are that were set aside by then, `num_letters` in all. `forms`: what the
    state of each step is made of; empty as written until 2026-11-23. `dropped`: what its run was told to let go.
    """

    checkpoint_id: int
    flow: str
    run_id: JobId
    ended_unix_s: float
    tasks: tuple[SavedTask, ...]
    letters: SavedPieces = ()
    num_letters: int = 0
    forms: Mapping[str, StateForm] = {}
    dropped: tuple[str, ...] = ()

    def pieces(self) -> list[SavedPiece]:
        """Return all of which it consists."""
        return [*(piece for task in self.tasks for piece in task.pieces), *self.letters]

    def files(self) -> set[str]:
        """Return the names of the files in which something of it is."""
        return {piece.file for piece in self.pieces()}


_DECODER = msgspec.json.Decoder(Manifest)


def manifest_name(checkpoint_id: int) -> str:
    """Return the name of its file: names sort as checkpoints do."""
    return f"{checkpoint_id:010d}{SUFFIX}"


def bytes_of_manifest(manifest: Manifest) -> bytes:
    body = msgspec.json.encode(manifest)
    return b"%s %d %08x %d\n%s" % (MAGIC, FORMAT, crc32(body), len(body), body)


def manifest_from_bytes(content: bytes) -> Manifest:
    """Raises CheckpointUnusable for anything but what `bytes_of_manifest` made."""
    line, _, body = content.partition(b"\n")
    words = line.split(b" ")
    if len(words) != 4 or words[0] != MAGIC:
        raise _unusable("is no manifest of a checkpoint")
    if words[1] != b"%d" % FORMAT:
        raise _unusable(f"has format {words[1].decode(errors='replace')[:20]}, and this version reads {FORMAT}")
    if line != b"%s %d %08x %d" % (MAGIC, FORMAT, crc32(body), len(body)):
        raise _unusable("is not as it was written: its checksum differs")
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unusable(f"cannot be read: {error}") from error


def _unusable(what: str) -> CheckpointUnusable:
    return CheckpointUnusable(f"the manifest {what}", 'Resume from an older checkpoint, or begin anew: resume="never".')
