"""The checkpoints of one flow in a folder: found, checked, completed, forgotten. Knows neither actors nor jobs.

    0000000007.manifest    checkpoint 7: which parts of which files are whose state; written last, by rename
    node-x-3-7.store       a table of one task in RocksDB, laid down for a checkpoint: a folder
    job-x-node-3.part      what tasks of one node had saved by then, one piece after the other; never changed
    0000000007-...calls    model calls that tasks made since checkpoint 7
    0000000007-...posts    what was posted to sources that listen since checkpoint 7
    0000000007.newest      empty: checkpoint 7 was the newest that was complete, whatever becomes of its manifest
    committed              empty; there once sinks of two phases have shown what a checkpoint held
    lock                   held by whoever may write

A checkpoint is complete once its manifest is there, and good if every piece that it names has its checksum, and every
table its files by name and size: what is in these has checksums of RocksDB's own, asked when a block is read.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from zlib import crc32

from cluster.checkpoints.disk import LIVE, STAGED, STORE, Disk
from cluster.checkpoints.manifest import SUFFIX, Manifest, bytes_of_manifest, manifest_from_bytes, manifest_name
from cluster.runtime.saving import SavedPiece
from sage.base.errors import CheckpointUnusable, SageError
from sage.base.full_disk import disk_full, is_full

PART = ".part"
CALLS = ".calls"
POSTS = ".posts"
COMMITTED = "committed"
"""A file that says all by its name, which does not rot."""

NEWEST = ".newest"

_LEFT = (LIVE, STAGED, f"{SUFFIX}.new")
"""How names end of what is of no use once its process has ended."""

_LEN_COPIED = 8 << 20


@dataclass(frozen=True, slots=True)
class FoundCheckpoints:
    """`newest` is the newest good checkpoint, None where there is none; `bad` says what is wrong with newer ones.

    `is_committed`: others may have seen what these held, and would see it again if a run went on from an older one.
    `marked`: which one was said to be the newest; it is among the `bad` where its manifest is gone.
    """

    newest: Manifest | None
    bad: dict[int, str]
    next_id: int
    is_committed: bool = False
    marked: int = 0

    @property
    def has_any(self) -> bool:
        """Say whether there is a checkpoint, good or not."""
        return self.newest is not None or bool(self.bad)


class CheckpointFolder:
    """Used by one thread at a time."""

    def __init__(self, disk: Disk, where: str) -> None:
        """`where`: the folder, for people."""
        self._disk = disk
        self._where = where

    def find(self) -> FoundCheckpoints:
        """Look for the newest good checkpoint; reads all of it but tables.

        Raises CheckpointUnusable where none can be read.
        """
        bad: dict[int, str] = {}
        names = self._names()
        ids, is_committed = _ids_in(names), COMMITTED in names
        marked = max(_ids_in(names, NEWEST), default=0)
        if marked > max(ids, default=0):
            bad[marked] = f"its manifest, {manifest_name(marked)} in {self._where}, is gone"
        next_id = max(marked, *ids, 0) + 1
        for checkpoint_id in reversed(ids):
            try:
                manifest = self.manifest(checkpoint_id)
                self._check(manifest)
            except CheckpointUnusable as error:
                bad[checkpoint_id] = error.what
            else:
                return FoundCheckpoints(manifest, bad, next_id, is_committed, marked)
        return FoundCheckpoints(None, bad, next_id, is_committed, marked)

    def manifest(self, checkpoint_id: int) -> Manifest:
        """Return a manifest; raises CheckpointUnusable."""
        try:
            content = self._disk.read(manifest_name(checkpoint_id))
        except OSError as error:
            raise self._unreadable(manifest_name(checkpoint_id), error) from error
        manifest = manifest_from_bytes(content)
        if manifest.checkpoint_id != checkpoint_id:
            raise CheckpointUnusable(f"the manifest of checkpoint {checkpoint_id} is that of another")
        return manifest

    def piece(self, piece: SavedPiece) -> bytes:
        """Return the bytes of a piece as they were written; raises CheckpointUnusable."""
        try:
            found = self._disk.read_part(piece.file, piece.offset_bytes, piece.len_bytes)
        except OSError as error:
            raise self._unreadable(piece.file, error) from error
        if len(found) != piece.len_bytes or crc32(found) != piece.crc32:
            raise CheckpointUnusable(
                f"{piece.file} in {self._where} is not as it was written: {piece.len_bytes} bytes from "
                f"{piece.offset_bytes} on have another checksum",
                'Resume from an older checkpoint, or begin anew: resume="never".',
            )
        return found

    def store(self, name: str) -> SavedPiece:
        """Return what a manifest says of a table that was laid down: of names and sizes; raises CheckpointUnusable."""
        try:
            files = self._disk.files_of(name)
        except OSError as error:
            raise self._unreadable(name, error) from error
        listing = "\n".join(f"{file} {num_bytes}" for file, num_bytes in sorted(files.items()))
        return SavedPiece(name, 0, sum(files.values()), crc32(listing.encode()))

    def copy_store(self, name: str, target: "CheckpointFolder") -> None:
        """Copy a table to another folder; raises CheckpointUnusable."""
        try:
            for file, num_bytes in self._disk.files_of(name).items():
                parts = range(0, num_bytes, _LEN_COPIED)
                target.write(file, (self._disk.read_part(file, start, _LEN_COPIED) for start in parts))
        except OSError as error:
            raise self._unreadable(name, error) from error

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write a new file; raises CheckpointUnusable, DiskFull."""
        try:
            self._disk.names()  # makes the folder
            self._disk.write(name, chunks)
        except OSError as error:
            raise disk_refused(self._where, error) from error

    def complete(self, manifest: Manifest, num_kept: int, *, commits: bool = False) -> None:
        """Make a checkpoint complete, and forget those that are older than the `num_kept` newest.

        `commits`: sinks show what it holds from then on. Raises CheckpointUnusable and DiskFull.
        """
        try:
            if commits and COMMITTED not in self._disk.names():
                self._disk.write(COMMITTED, [])
            self._disk.replace(manifest_name(manifest.checkpoint_id), bytes_of_manifest(manifest))
        except OSError as error:
            raise disk_refused(self._where, error) from error
        with suppress(OSError):  # it is complete: where it is not marked, its loss alone would not be seen
            self._mark(manifest.checkpoint_id)
        self._forget([*self._ids()][:-num_kept], self._passed(manifest))
        with suppress(CheckpointUnusable, OSError):
            self._forget_logs()

    def set_aside(self, checkpoint_id: int) -> None:
        """Let a bad checkpoint never be found again, whatever becomes of it: a run goes on from an older one now.

        Raises CheckpointUnusable.
        """
        try:
            names = self._names()
            if manifest_name(checkpoint_id) in names:
                self._disk.rename(manifest_name(checkpoint_id), f"{manifest_name(checkpoint_id)}.bad")
            if newest_name(checkpoint_id) in names:
                self._disk.remove(newest_name(checkpoint_id))
        except OSError as error:
            raise disk_refused(self._where, error) from error

    def clear(self) -> None:
        """Forget every checkpoint: the flow has come to its end. Raises CheckpointUnusable.

        Whoever is killed meanwhile leaves the newest whole, or no checkpoint.
        """
        try:
            names = self._disk.names()
            for checkpoint_id in _ids_in(names, NEWEST):
                self._disk.remove(newest_name(checkpoint_id))
            for checkpoint_id in _ids_in(names):
                self._disk.remove(manifest_name(checkpoint_id))
            for name in names:
                if name == COMMITTED or name.endswith((SUFFIX, PART, CALLS, POSTS, STORE, *_LEFT)):
                    self._disk.remove(name)
        except OSError as error:
            raise disk_refused(self._where, error) from error

    def sweep(self) -> None:
        """Remove what no checkpoint needs: a run that ended early left it. Nobody may be writing."""
        needed = self._needed()
        if needed is None:
            return
        try:
            names = self._disk.names()
            loose = () if _ids_in(names) else (COMMITTED,)
            for name in names:
                if name in loose or name.endswith(_LEFT) or (name.endswith((PART, STORE)) and name not in needed):
                    self._disk.remove(name)
            self._forget_logs()
        except OSError as error:
            raise disk_refused(self._where, error) from error

    def _mark(self, checkpoint_id: int) -> None:
        before = _ids_in(self._disk.names(), NEWEST)
        self._disk.mark(newest_name(checkpoint_id), newest_name(before[-1]) if before else None)

    def _forget_logs(self) -> None:
        """Remove calls and posts from before the oldest checkpoint: whatever goes on from one holds what counts."""
        ids = self._ids()
        for name in self._disk.names() if ids else ():
            if name.endswith((CALLS, POSTS)) and name[:10].isdecimal() and int(name[:10]) < ids[0]:
                self._disk.remove(name)

    def _passed(self, manifest: Manifest) -> set[str]:
        """Return tables that were laid down before those of a checkpoint: where one was given up, nothing names its."""
        newest = dict(_table_and_number(piece.file) for piece in manifest.pieces() if piece.is_store)
        passed: set[str] = set()
        with suppress(OSError):
            for name in self._disk.names() if newest else ():
                table, number = _table_and_number(name)
                if name.endswith(STORE) and number < newest.get(table, 0):
                    passed.add(name)
        return passed

    def _forget(self, old: list[int], loose: set[str]) -> None:
        """Remove manifests first, then what only they needed, and what of `loose` none that is left needs.

        What cannot be removed stays, and does no harm.
        """
        for checkpoint_id in old:
            with suppress(OSError):
                loose |= self._files_of(checkpoint_id)
                self._disk.remove(manifest_name(checkpoint_id))
        needed = self._needed() if loose else None
        for name in loose - needed if needed is not None else ():
            with suppress(OSError):
                self._disk.remove(name)

    def _files_of(self, checkpoint_id: int) -> set[str]:
        """Return the files that a checkpoint needs, none where it is corrupt; raises OSError."""
        content = self._disk.read(manifest_name(checkpoint_id))
        try:
            return manifest_from_bytes(content).files()
        except CheckpointUnusable:
            return set()  # a later run removes what nobody needs any more

    def _needed(self) -> set[str] | None:
        """Return the files that checkpoints need; None where one cannot be read, and may be read another time."""
        try:
            return {name for checkpoint_id in self._ids() for name in self.manifest(checkpoint_id).files()}
        except CheckpointUnusable:
            return None

    def _check(self, manifest: Manifest) -> None:
        for piece in manifest.pieces():
            if not piece.is_store:
                self.piece(piece)
            elif self.store(piece.file) != piece:
                raise CheckpointUnusable(f"{piece.file} in {self._where} is not as it was laid down")

    def _ids(self) -> list[int]:
        return _ids_in(self._names())

    def _names(self) -> list[str]:
        try:
            return self._disk.names()
        except OSError as error:
            raise self._unreadable("it", error) from error

    def _unreadable(self, name: str, error: OSError) -> CheckpointUnusable:
        return CheckpointUnusable(
            f"{name} in {self._where} cannot be read: {error.strerror}",
            'Check the folder and its permissions, or begin anew: resume="never".',
        )


def newest_name(checkpoint_id: int) -> str:
    """Return the name of the file that says that it was the newest."""
    return f"{checkpoint_id:010d}{NEWEST}"


def _ids_in(names: Iterable[str], suffix: str = SUFFIX) -> list[int]:
    """Return the checkpoints whose manifests, or marks, are among these files, the oldest first."""
    stems = [name.removesuffix(suffix) for name in names if name.endswith(suffix)]
    return sorted(int(stem) for stem in stems if stem.isdecimal())


def _table_and_number(name: str) -> tuple[str, int]:
    """Take the name of a table as it was laid down apart: of which table it is, and how many came before."""
    table, _, number = name.removesuffix(STORE).rpartition("-")
    return table, int(number) if number.isdecimal() else 0


def disk_refused(where: str, error: OSError) -> SageError:
    """Return what to tell users of a folder that the disk refuses: DiskFull where room would help."""
    if is_full(error):
        return disk_full(where, error)
    return CheckpointUnusable(
        f"{where} cannot be written: {error.strerror}", "Check the folder, its permissions and its room."
    )
