"""A journal of jobs in a SQLite file, written through at every change. Decides nothing.

WAL with synchronous=FULL: what was kept is on the disk. The file belongs to one job manager at a time. Every row has a
checksum, and a second file, `FILE.seen`, says how many changes were made: what was changed from outside, or is missing
though it was kept, is found when the file is opened.
"""

import os
import sqlite3
import stat
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

import msgspec

from cluster.jobs.journal import MAX_ENDED_JOBS, NUM_EPOCHS, Forgotten, JobRecord
from sage.base.errors import JournalUnusable
from sage.base.log import get_log

APPLICATION_ID = 0x53414745
"""In the file's head: `SAGE`."""

SCHEMA_VERSION = 2

_SCHEMA = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, number INTEGER NOT NULL, ended_number INTEGER, name TEXT NOT NULL, code BLOB NOT NULL,
    status TEXT NOT NULL, placement TEXT NOT NULL, num_restarts INTEGER NOT NULL, num_restarts_left INTEGER NOT NULL,
    created_unix_s REAL NOT NULL, ended_unix_s REAL, error TEXT NOT NULL, num_dead_letters INTEGER NOT NULL,
    about BLOB NOT NULL, metrics TEXT NOT NULL, crc INTEGER NOT NULL
) STRICT;
CREATE INDEX jobs_by_end ON jobs (ended_number);
CREATE TABLE totals (
    num_changes INTEGER NOT NULL, num_jobs INTEGER NOT NULL, next_epoch INTEGER NOT NULL,
    num_forgotten INTEGER NOT NULL, num_dead_letters_forgotten INTEGER NOT NULL, crc INTEGER NOT NULL
) STRICT;
"""

_FIELDS = JobRecord.__struct_fields__
_JSON_FIELDS = ("placement", "error", "metrics")
_COLUMNS = ("number", "ended_number", *_FIELDS)

_KEEP = f"""
INSERT INTO jobs ({", ".join(_COLUMNS)}, crc) VALUES ({", ".join(f":{name}" for name in _COLUMNS)}, :crc)
ON CONFLICT (id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in (*_COLUMNS, "crc"))}
"""  # noqa: S608 - the names are those of our own struct

_NUMBERS = """
SELECT coalesce((SELECT number FROM jobs WHERE id = :id), (SELECT coalesce(max(number), 0) + 1 FROM jobs)),
    coalesce((SELECT ended_number FROM jobs WHERE id = :id), (SELECT coalesce(max(ended_number), 0) + 1 FROM jobs))
"""

_SURPLUS = "SELECT id, num_dead_letters FROM jobs WHERE ended_number IS NOT NULL ORDER BY ended_number DESC LIMIT -1"


class _Totals(msgspec.Struct, frozen=True, array_like=True):
    num_changes: int = 0
    num_jobs: int = 0
    next_epoch: int = 0
    num_forgotten: int = 0
    num_dead_letters_forgotten: int = 0


class SqliteJournal:
    """A Journal in a file."""

    def __init__(self, path: Path, *, max_ended: int = MAX_ENDED_JOBS) -> None:
        """Open the journal at `path`, or begin one there, readable by its owner alone.

        Raises JournalUnusable where the file is corrupt, of another program or version, in use, or open to others.
        """
        self._path = path
        self._seen_path = path.with_name(f"{path.name}.seen")
        self._max_ended = max_ended
        with self._translated():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._check_private()
            self._db = sqlite3.connect(path, timeout=0.0, isolation_level=None, check_same_thread=False)
        try:
            with self._translated():
                self._open()
        except JournalUnusable:
            self._db.close()
            raise

    def keep(self, record: JobRecord) -> None:
        with self._translated(), self._transaction():
            ((number, ended_number),) = self._rows(_NUMBERS, {"id": record.id})
            self._db.execute(_KEEP, _row(record, number, ended_number if record.is_over else None))
            self._forget()

    def jobs(self) -> tuple[JobRecord, ...]:
        with self._translated():
            rows = self._rows(f"SELECT {', '.join(_COLUMNS)}, crc FROM jobs ORDER BY number")  # noqa: S608 - our names
            found = tuple(self._record(row) for row in rows)
            if len(found) != self._totals.num_jobs:
                raise self._unusable(f"it is corrupt: {len(found)} jobs are there of {self._totals.num_jobs}")
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Opening.

    def _check_private(self) -> None:
        """Refuse a file that another user could have written: the code in it is run as this user's."""
        for path in (self._path, self._path.with_name(f"{self._path.name}-wal")):
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
        self._totals = _Totals()
        if (application_id, version, num_tables) == (0, 0, 0):
            self._check_seen()
            self._begin()
        elif application_id != APPLICATION_ID:
            raise self._unusable("it is the database of another program")
        elif version != SCHEMA_VERSION:
            raise self._unusable(f"it has version {version}, this program writes {SCHEMA_VERSION}")
        (verdict,) = self._rows("PRAGMA integrity_check(1)")[0]
        if verdict != "ok":
            raise self._unusable(f"it is corrupt: {verdict}")
        self._read_totals()
        self._check_seen()
        self.jobs()

    def _begin(self) -> None:
        with self._transaction():
            for statement in filter(str.strip, _SCHEMA.split(";")):
                self._db.execute(statement)
            self._db.execute("INSERT INTO totals VALUES (0, 0, 0, 0, 0, 0)")
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _read_totals(self) -> None:
        rows = self._rows("SELECT * FROM totals")
        if len(rows) != 1 or rows[0][-1] != _crc(rows[0][:-1]):
            raise self._unusable("it is corrupt: its totals are not what was written")
        self._totals = _Totals(*rows[0][:-1])

    def _check_seen(self) -> None:
        """Compare with what the second file says: it is written after the first, so that it never knows more."""
        try:
            seen = int(self._seen_path.read_text(encoding="ascii"))
        except FileNotFoundError:
            seen = 0
        except ValueError:
            raise self._unusable(f"{self._seen_path.name} beside it is corrupt") from None
        if seen > self._totals.num_changes:
            raise JournalUnusable(
                f"the newest {seen - self._totals.num_changes} changes in the journal of jobs at {self._path} are "
                "missing, though they were written: it, or the -wal beside it, was damaged or put back",
                f"Remove {self._seen_path} to go on from what is there, or move the journal's folder away.",
            )

    def _write_seen(self) -> None:
        """Neither synced nor needed: where it knows less, after a power cut or on a full disk, less is found."""
        try:
            self._seen_path.touch(mode=0o600)
            with self._seen_path.open("r+", encoding="ascii") as file:
                file.write(f"{self._totals.num_changes:020d}\n")
        except OSError as error:
            get_log().warning("journal's second file not written", path=str(self._seen_path), why=str(error))

    # Rows.

    def _forget(self) -> None:
        for job_id, num_dead_letters in self._rows(f"{_SURPLUS} OFFSET ?", (self._max_ended,)):
            self._db.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
            self._totals = msgspec.structs.replace(
                self._totals,
                num_forgotten=self._totals.num_forgotten + 1,
                num_dead_letters_forgotten=self._totals.num_dead_letters_forgotten + num_dead_letters,
            )

    def _record(self, row: Sequence[Any]) -> JobRecord:
        number, ended_number, *values, crc = row
        fields = dict(zip(_FIELDS, values, strict=True))
        fields |= {name: msgspec.json.decode(str(fields[name])) for name in _JSON_FIELDS}
        record = msgspec.convert(fields, JobRecord)
        if crc != _crc((number, ended_number, record)):
            raise self._unusable(f"it is corrupt: job {record.id} is not what was written")
        return record

    def _rows(self, query: str, values: Sequence[object] | dict[str, object] = ()) -> list[tuple[Any, ...]]:
        with closing(self._db.execute(query, values)) as cursor:
            return cursor.fetchall()

    @contextmanager
    def _transaction(self, next_epoch: int | None = None) -> Iterator[None]:
        """Make one change, or none; the totals go with it."""
        before = self._totals
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._totals = msgspec.structs.replace(
                self._totals,
                num_changes=before.num_changes + 1,
                num_jobs=self._rows("SELECT count(*) FROM jobs")[0][0],
                next_epoch=before.next_epoch if next_epoch is None else next_epoch,
            )
            values = msgspec.structs.astuple(self._totals)
            names = ", ".join(f"{name} = ?" for name in (*_Totals.__struct_fields__, "crc"))
            self._db.execute(f"UPDATE totals SET {names}", (*values, _crc(values)))  # noqa: S608 - our own names
            self._db.execute("COMMIT")
        except BaseException:
            self._totals = before
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
            in_use = error.sqlite_errorname in ("SQLITE_BUSY", "SQLITE_LOCKED")
            raise self._unusable("another job manager uses it" if in_use else str(error)) from error
        except (sqlite3.Error, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._unusable(f"it is corrupt: {error}") from error
        except OSError as error:
            raise self._unusable(str(error)) from error

    def _unusable(self, why: str) -> JournalUnusable:
        return JournalUnusable(
            f"the journal of jobs at {self._path} cannot be used: {why}",
            "Move its folder away, or name another (cluster.state_dir): the cluster then begins without past jobs.",
        )


def _row(record: JobRecord, number: int, ended_number: int | None) -> dict[str, object]:
    values: dict[str, object] = {name: getattr(record, name) for name in _FIELDS}
    values |= {name: msgspec.json.encode(values[name]).decode() for name in _JSON_FIELDS}
    crc = _crc((number, ended_number, record))
    return {
        **values,
        "status": record.status.value,
        "number": number,
        "ended_number": ended_number,
        "crc": crc,
    }


def _crc(value: object) -> int:
    return zlib.crc32(msgspec.msgpack.encode(value))
