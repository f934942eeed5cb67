"""A journal of jobs in a SQLite file, written through at every change. Decides nothing.

WAL with synchronous=FULL: what was kept is on the disk. The file belongs to one job manager at a time. Every row has a
checksum, and all of them together have one; a second file, `FILE.seen`, says how many changes were made: what was
changed from outside, is older than the rest, or is missing though it was kept, is found when the file is opened.
"""

import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path
from typing import Any, Self

import msgspec

from cluster.jobs.journal import MAX_ENDED_JOBS, NUM_EPOCHS, Forgotten, JobRecord
from cluster.jobs.journal_rows import COLUMNS, KEEP, SCHEMA, JournalTotals, record_of, row_of, totals_of
from sage.base.errors import JournalDamaged, JournalUnusable
from sage.base.log import get_log

JOURNAL = "jobs.db"
"""The file's name in its cluster's folder."""

APPLICATION_ID = 0x53414745
"""In the file's head: `SAGE`."""

SCHEMA_VERSION = 3
_NO_SUM = 2  # the version before: its totals say nothing of the rows' checksums

_MOVE = "Move its folder away, or name another (cluster.state_dir): the cluster then begins without past jobs."
_MEND = "Start with --mend-journal: what is whole of it stays, and what is not is named and set aside."
_ROOM = "Make room on its disk and start again, or wait: what was kept before is all there."
_END = "End the other one, or give this cluster another name: --name."

_CRC = "SELECT crc FROM jobs WHERE id = :id"

_NUMBERS = """
SELECT coalesce((SELECT number FROM jobs WHERE id = :id), (SELECT coalesce(max(number), 0) + 1 FROM jobs)),
    coalesce((SELECT ended_number FROM jobs WHERE id = :id), (SELECT coalesce(max(ended_number), 0) + 1 FROM jobs))
"""

_SURPLUS = """
SELECT id, num_dead_letters, crc FROM jobs WHERE ended_number IS NOT NULL ORDER BY ended_number DESC LIMIT -1
"""


class SqliteJournal:
    """A Journal in a file."""

    def __init__(self, path: Path, *, max_ended: int = MAX_ENDED_JOBS) -> None:
        """Open the journal at `path`, or begin one there, readable by its owner alone.

        Raises: JournalDamaged where not all is there as it was written; JournalUnusable where the file is of another
        program or version, in use, open to others, or on a disk that is full.
        """
        self._path = path
        self._seen_path = path.with_name(f"{path.name}.seen")
        self._wal, self._kept_wal = (path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-wal.aside"))
        self._max_ended = max_ended
        with self._translated():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._check_private()
            self._put_wal_back()
            self._db = sqlite3.connect(path, timeout=0.0, isolation_level=None, check_same_thread=False)
        try:
            with self._translated():
                self._open()
        except JournalDamaged:
            self._close_keeping_wal()
            raise
        except JournalUnusable:
            self._db.close()
            raise

    def keep(self, record: JobRecord) -> None:
        self.keep_all((record,))

    def keep_all(self, records: Iterable[JobRecord]) -> None:
        """Do as `keep` with each, in one change: all are kept, or none."""
        with self._translated(), self._transaction():
            for record in records:
                self._put(record)
            self._forget()

    def jobs(self) -> tuple[JobRecord, ...]:
        with self._translated():
            rows = self._rows(f"SELECT {', '.join(COLUMNS)} FROM jobs ORDER BY number")  # noqa: S608 - our names
            found = tuple(map(record_of, rows))
            if len(found) != self._totals.num_jobs:
                raise self._damaged(f"{len(found)} jobs are there of {self._totals.num_jobs}")
            return found

    def forgotten(self) -> Forgotten:
        return Forgotten(self._totals.num_forgotten, self._totals.num_dead_letters_forgotten)

    def reserve_epochs(self, at_least: int) -> int:
        first = max(at_least, self._totals.next_epoch)
        with self._translated(), self._transaction(next_epoch=first + NUM_EPOCHS):
            return first

    def close(self) -> None:
        with self._translated():
            self._db.close()

    def _close_keeping_wal(self) -> None:
        """Close what is damaged: SQLite takes what it can read of the -wal into the file, and would remove the rest."""
        with self._translated():
            if self._wal.exists():
                os.replace(self._wal, self._kept_wal)
            try:
                self._db.close()
            finally:
                if self._kept_wal.exists():
                    os.replace(self._kept_wal, self._wal)

    def _put_wal_back(self) -> None:
        """Do what is left to do of `_close_keeping_wal` where one was killed in the middle of it."""
        if not self._kept_wal.exists():
            return
        with closing(sqlite3.connect(self._path, timeout=0.0, isolation_level=None)) as db:
            try:  # the lock: who has it may be about to put the -wal back
                db.execute("PRAGMA locking_mode = EXCLUSIVE")
                db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorname in ("SQLITE_BUSY", "SQLITE_LOCKED"):
                    raise
            except sqlite3.DatabaseError:
                pass  # nobody can use it, and opening it says so
        os.replace(self._kept_wal, self._wal)  # only now: closing removes what stands there

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Opening.

    def _check_private(self) -> None:
        """Refuse a file that another user could have written: the code in it is run as this user's."""
        for path in (self._path, self._wal, self._kept_wal):
            if not path.exists():
                continue
            found = path.stat()
            if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
                whose = f"user {found.st_uid}'s, with mode {stat.S_IMODE(found.st_mode):04o}"
                raise self._unusable(f"{path.name} is {whose}, and must be this user's alone (0600)")

    def _open(self) -> None:
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        (application_id,), (version,) = (self._rows(f"PRAGMA {name}")[0] for name in ("application_id", "user_version"))
        num_tables = self._rows("SELECT count(*) FROM sqlite_schema")[0][0]
        self._totals, self._sum = JournalTotals(), 0
        if (application_id, version, num_tables) == (0, 0, 0):
            self._check_seen()
            self._begin()
        elif application_id != APPLICATION_ID:
            if self._seen_path.exists():  # which no other program writes
                raise self._damaged(f"its head names another program ({application_id:#x})")
            raise self._unusable("it is the database of another program")
        elif version not in (SCHEMA_VERSION, _NO_SUM):
            raise self._unusable(f"it has version {version}, this program writes {SCHEMA_VERSION}")
        (verdict,) = self._rows("PRAGMA integrity_check(1)")[0]
        if verdict != "ok":
            raise self._damaged(verdict)
        self._read_totals(has_sum=version != _NO_SUM)
        self._check_seen()
        self.jobs()
        if version == _NO_SUM:
            with self._transaction():
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _begin(self) -> None:
        with self._transaction():
            for statement in filter(str.strip, SCHEMA.split(";")):
                self._db.execute(statement)
            self._db.execute("INSERT INTO totals VALUES (0, 0, 0, 0, 0, 0)")
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _read_totals(self, *, has_sum: bool) -> None:
        rows = self._rows("SELECT * FROM totals")
        self._sum = sum(crc for (crc,) in self._rows("SELECT crc FROM jobs"))
        if len(rows) != 1:
            raise self._damaged("its totals are missing")
        self._totals = totals_of(rows[0], self._sum if has_sum else None)

    def _check_seen(self) -> None:
        """Compare with what the second file says: it is written after the first, so that it never knows more."""
        try:
            seen = int(self._seen_path.read_text(encoding="ascii"))
        except FileNotFoundError:
            seen = 0
        except ValueError:
            raise JournalDamaged(
                f"{self._seen_path}, which says how many changes the journal of jobs beside it has, is corrupt",
                f"Remove it, if nothing else on this disk was damaged; else {_MEND[0].lower()}{_MEND[1:]}",
            ) from None
        if seen > self._totals.num_changes:
            lost = f"the newest {seen - self._totals.num_changes} changes are missing, though they were written"
            raise self._damaged(f"{lost}: it, or the -wal beside it, was damaged or put back")

    def _write_seen(self) -> None:
        """Neither synced nor needed: where it knows less, after a power cut or on a full disk, less is found."""
        try:
            self._seen_path.touch(mode=0o600)
            with self._seen_path.open("r+", encoding="ascii") as file:
                file.write(f"{self._totals.num_changes:020d}\n")
        except OSError as error:
            get_log().warning("journal's second file not written", path=str(self._seen_path), why=str(error))

    # Rows.

    def _put(self, record: JobRecord) -> None:
        ((number, ended_number),) = self._rows(_NUMBERS, {"id": record.id})
        row = row_of(record, number, ended_number if record.is_over else None)
        self._sum += int(str(row["crc"])) - sum(crc for (crc,) in self._rows(_CRC, {"id": record.id}))
        self._db.execute(KEEP, row)

    def _forget(self) -> None:
        for job_id, num_dead_letters, crc in self._rows(f"{_SURPLUS} OFFSET ?", (self._max_ended,)):
            self._db.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
            self._sum -= crc
            self._totals = msgspec.structs.replace(
                self._totals,
                num_forgotten=self._totals.num_forgotten + 1,
                num_dead_letters_forgotten=self._totals.num_dead_letters_forgotten + num_dead_letters,
            )

    def _rows(self, query: str, values: Sequence[object] | dict[str, object] = ()) -> list[tuple[Any, ...]]:
        with closing(self._db.execute(query, values)) as cursor:
            return cursor.fetchall()

    @contextmanager
    def _transaction(self, next_epoch: int | None = None) -> Iterator[None]:
        """Make one change, or none; the totals go with it."""
        before = self._totals, self._sum
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._totals = msgspec.structs.replace(
                self._totals,
                num_changes=self._totals.num_changes + 1,
                num_jobs=self._rows("SELECT count(*) FROM jobs")[0][0],
                next_epoch=self._totals.next_epoch if next_epoch is None else next_epoch,
            )
            values = msgspec.structs.astuple(self._totals)
            names = ", ".join(f"{name} = ?" for name in (*JournalTotals.__struct_fields__, "crc"))
            crc = self._totals.crc(self._sum)
            self._db.execute(f"UPDATE totals SET {names}", (*values, crc))  # noqa: S608 - our own names
            self._db.execute("COMMIT")
        except BaseException:
            self._totals, self._sum = before
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._write_seen()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what SQLite, the disk and a decoder raise into JournalUnusable."""
        try:
            yield
        except sqlite3.OperationalError as error:
            match error.sqlite_errorname:
                case "SQLITE_BUSY" | "SQLITE_LOCKED":
                    raise self._unusable("another job manager uses it", _END) from error
                case "SQLITE_FULL" | "SQLITE_IOERR_WRITE" | "SQLITE_IOERR_FSYNC":
                    raise self._unusable(str(error), _ROOM) from error
                case name if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
                    raise self._unusable(str(error), _MOVE) from error
                case _:
                    raise self._damaged(str(error)) from error
        except OSError as error:
            raise self._unusable(str(error), _ROOM if error.errno in (ENOSPC, EDQUOT, EFBIG) else _MOVE) from error
        except (sqlite3.Error, ValueError) as error:  # msgspec's errors are ValueErrors
            raise self._damaged(str(error)) from error

    def _damaged(self, why: str) -> JournalDamaged:
        return JournalDamaged(f"the journal of jobs at {self._path} cannot be used: it is corrupt: {why}", _MEND)

    def _unusable(self, why: str, do: str = _MOVE) -> JournalUnusable:
        return JournalUnusable(f"the journal of jobs at {self._path} cannot be used: {why}", do)
