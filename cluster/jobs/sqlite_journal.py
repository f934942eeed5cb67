"""A journal of jobs in a SQLite file, written through at every change. Decides nothing.

WAL with synchronous=FULL: what was kept is on the disk. The file belongs to one job manager at a time.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

import msgspec

from cluster.jobs.journal import MAX_ENDED_JOBS, Forgotten, JobRecord
from sage.base.errors import JournalUnusable

APPLICATION_ID = 0x53414745
"""In the file's head: `SAGE`."""

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, number INTEGER NOT NULL, ended_number INTEGER, name TEXT NOT NULL, code BLOB NOT NULL,
    status TEXT NOT NULL, placement TEXT NOT NULL, num_restarts INTEGER NOT NULL, num_restarts_left INTEGER NOT NULL,
    created_unix_s REAL NOT NULL, ended_unix_s REAL, error TEXT NOT NULL, num_dead_letters INTEGER NOT NULL
) STRICT;
CREATE INDEX jobs_by_end ON jobs (ended_number);
CREATE TABLE forgotten (num_jobs INTEGER NOT NULL, num_dead_letters INTEGER NOT NULL) STRICT;
INSERT INTO forgotten VALUES (0, 0);
"""

_FIELDS = JobRecord.__struct_fields__
_JSON_FIELDS = ("placement", "error")

_KEEP = f"""
INSERT INTO jobs ({", ".join(_FIELDS)}, number, ended_number)
VALUES ({", ".join(f":{name}" for name in _FIELDS)}, (SELECT coalesce(max(number), 0) + 1 FROM jobs), NULL)
ON CONFLICT (id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _FIELDS)}
"""  # noqa: S608 - the names are those of our own struct

_MARK_ENDED = """
UPDATE jobs SET ended_number = CASE WHEN :is_over
    THEN coalesce(ended_number, (SELECT coalesce(max(ended_number), 0) + 1 FROM jobs)) END
WHERE id = :id
"""

_SURPLUS = "SELECT id FROM jobs WHERE ended_number IS NOT NULL ORDER BY ended_number DESC LIMIT -1 OFFSET ?"


class SqliteJournal:
    """A Journal in a file."""

    def __init__(self, path: Path, *, max_ended: int = MAX_ENDED_JOBS) -> None:
        """Open the journal at `path`, or begin one there, readable by its owner alone.

        Raises JournalUnusable where the file is corrupt, of another program, of another version, or in use.
        """
        self._path = path
        self._max_ended = max_ended
        with self._translated():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(path, timeout=0.0, isolation_level=None, check_same_thread=False)
        try:
            with self._translated():
                self._open()
        except JournalUnusable:
            self._db.close()
            raise

    def keep(self, record: JobRecord) -> None:
        values = {name: getattr(record, name) for name in _FIELDS}
        values |= {name: msgspec.json.encode(values[name]).decode() for name in _JSON_FIELDS}
        with self._translated(), self._transaction():
            self._db.execute(_KEEP, {**values, "status": record.status.value})
            self._db.execute(_MARK_ENDED, {"id": record.id, "is_over": record.is_over})
            self._forget()

    def jobs(self) -> tuple[JobRecord, ...]:
        with self._translated():
            rows = self._rows(f"SELECT {', '.join(_FIELDS)} FROM jobs ORDER BY number")  # noqa: S608 - our own names
            return tuple(_record(row) for row in rows)

    def forgotten(self) -> Forgotten:
        with self._translated():
            return Forgotten(*self._rows("SELECT num_jobs, num_dead_letters FROM forgotten")[0])

    def close(self) -> None:
        with self._translated():
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        (application_id,), (version,) = (self._rows(f"PRAGMA {name}")[0] for name in ("application_id", "user_version"))
        num_tables = self._rows("SELECT count(*) FROM sqlite_schema")[0][0]
        if (application_id, version, num_tables) == (0, 0, 0):
            with self._transaction():
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif application_id != APPLICATION_ID:
            raise self._unusable("it is the database of another program")
        elif version != SCHEMA_VERSION:
            raise self._unusable(f"it has version {version}, this program writes {SCHEMA_VERSION}")
        (verdict,) = self._rows("PRAGMA quick_check(1)")[0]
        if verdict != "ok":
            raise self._unusable(f"it is corrupt: {verdict}")

    def _forget(self) -> None:
        for (job_id,) in self._rows(_SURPLUS, (self._max_ended,)):
            sum_ = "num_jobs + 1, num_dead_letters + (SELECT num_dead_letters FROM jobs WHERE id = ?)"
            self._db.execute(f"UPDATE forgotten SET (num_jobs, num_dead_letters) = ({sum_})", (job_id,))  # noqa: S608
            self._db.execute("DELETE FROM jobs WHERE id = ?", (job_id,))

    def _rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with closing(self._db.execute(query, values)) as cursor:
            return cursor.fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

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
            "Name another file, or move this one away: the cluster then begins without past jobs.",
        )


def _record(row: Sequence[object]) -> JobRecord:
    values = dict(zip(_FIELDS, row, strict=True))
    values |= {name: msgspec.json.decode(str(values[name])) for name in _JSON_FIELDS}
    return msgspec.convert(values, JobRecord)
