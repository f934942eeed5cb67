"""What can be saved of a journal that its disk has damaged. Starts no job, and lets none begin again.

A job that was over stays as it ended. Of one that was not, what stands there may be older than what became of it: it is
kept as one that has failed, so that nothing is done twice that nobody asked for. The files that were there stay beside.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import msgspec

from cluster.jobs.journal import NUM_EPOCHS, JobRecord
from cluster.jobs.journal_rows import COLUMNS, record_of
from cluster.jobs.recovery import interrupted
from cluster.jobs.sqlite_journal import SqliteJournal
from sage.base.errors import JournalDamaged, JournalUnusable
from sage.base.ids import JobId

MAX_CHANGES = 1_000_000
"""Believed of a count that may be damaged itself. What is looked for by its number is so, too: some seconds."""

_MAX_EPOCH = 1 << 52
_FILES = ("", "-wal", ".seen")


@dataclass(frozen=True, slots=True)
class Mending:
    """What became of the jobs of a journal; `aside`: the first of the files as they were found.

    `failed`: those that were not over. `lost`: whose ids are there, and no more. `num_missing`: of which not even
    that is; None where changes are missing, which may have been jobs.
    """

    aside: Path
    ended: tuple[JobId, ...]
    failed: tuple[JobId, ...]
    lost: tuple[JobId, ...]
    num_missing: int | None


def mend_journal(path: Path, now_unix_s: float) -> Mending | None:
    """Make a journal of what is whole of the one at `path`; None: nothing is wrong with it.

    Raises: JournalUnusable where it is in use, of another version, or could not be written; it is as it was then.
    """
    try:
        SqliteJournal(path).close()
    except JournalDamaged as damage:
        try:
            return _mended(path, now_unix_s)
        except OSError as error:
            raise JournalUnusable(f"the journal of jobs at {path} could not be mended: {error}", damage.do) from error
    return None


def _mended(path: Path, now_unix_s: float) -> Mending:
    aside = _copied_aside(path)
    seen = _number_in(_beside(aside, ".seen"))
    with _opened_copy(aside, _beside(path, ".reading")) as db:
        num_changes, num_jobs, next_epoch = _totals_in(db)
        records = list(_whole_in(db, max(seen or 0, num_changes or 0)))
        lost = tuple(job_id for job_id in _ids_in(db) if job_id not in {record.id for record in records})
    ended = [record for record in records if record.is_over]
    failed = [_failed(record, now_unix_s) for record in records if not record.is_over]
    if seen is None or num_changes is None:
        num_unknown = MAX_CHANGES if seen is None else min(seen, MAX_CHANGES)
    else:
        num_unknown = min(max(0, seen - num_changes), MAX_CHANGES)
    new = _beside(path, ".new")
    for suffix in _FILES:
        _beside(new, suffix).unlink(missing_ok=True)
    with SqliteJournal(new) as journal:
        journal.keep_all([*ended, *failed])
        # Every change that is not known may have been of a head that gave out epochs.
        journal.reserve_epochs(max(next_epoch or 0, int(now_unix_s * 1000)) + NUM_EPOCHS * num_unknown)
    _put_in_place(new, path)
    num_missing = None if num_jobs is None or num_unknown else max(0, num_jobs - len(records) - len(lost))
    return Mending(aside, tuple(r.id for r in ended), tuple(r.id for r in failed), lost, num_missing)


def _failed(record: JobRecord, now_unix_s: float) -> JobRecord:
    return interrupted(record, "the journal was damaged, so it may have gone on, or ended, since", now_unix_s)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}{suffix}")


def _copied_aside(path: Path) -> Path:
    """Copy the files as they are, for whoever wants to look for more."""
    aside = next(
        name for number in count(1) if not (name := _beside(path, f".damaged-{number}")).exists()
    )  # of few: each is of one mending
    for suffix in reversed(_FILES):  # the file itself last: where it is, all are
        if _beside(path, suffix).exists():
            shutil.copy2(_beside(path, suffix), _beside(aside, suffix))
    return aside


@contextmanager
def _opened_copy(aside: Path, copy: Path) -> Iterator[sqlite3.Connection]:
    """Open a copy of the files set aside: SQLite changes what it reads, and removes a -wal."""
    try:
        for suffix in _FILES:
            _beside(copy, suffix).unlink(missing_ok=True)
            if _beside(aside, suffix).exists():
                shutil.copy2(_beside(aside, suffix), _beside(copy, suffix))
        with closing(sqlite3.connect(copy, isolation_level=None)) as db:
            yield db
    finally:
        for suffix in (*_FILES, "-shm"):
            _beside(copy, suffix).unlink(missing_ok=True)


def _put_in_place(new: Path, path: Path) -> None:
    """Take the new files, in an order in which whatever is there in between is refused: the counts differ."""
    _beside(path, "-wal").unlink(missing_ok=True)
    os.replace(new, path)
    os.replace(_beside(new, ".seen"), _beside(path, ".seen"))


# What damaged files still say.


def _number_in(seen: Path) -> int | None:
    try:
        return int(seen.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _totals_in(db: sqlite3.Connection) -> tuple[int | None, int | None, int | None]:
    """Return how many changes were made, how many jobs there are and the next epoch, as far as that can be believed."""
    try:
        (found,) = db.execute("SELECT num_changes, num_jobs, next_epoch FROM totals")
        num_changes, num_jobs, next_epoch = msgspec.convert(found, tuple[int, int, int])  # of zeros it would be NULLs
    except (sqlite3.Error, ValueError):
        return None, None, None
    if not (0 <= num_jobs <= num_changes <= MAX_CHANGES and 0 <= next_epoch < _MAX_EPOCH):
        return None, None, None
    return num_changes, num_jobs, next_epoch


def _whole_in(db: sqlite3.Connection, num_changes: int) -> Iterator[JobRecord]:
    """Yield each job that is as it was written once, in the order of their rows.

    One at a time by its number, so that a page that cannot be read hides no other. There are no more than changes.
    """
    found: set[JobId] = set()
    for number in range(1, min(_last_in(db) or num_changes, MAX_CHANGES) + 1):
        try:
            rows = db.execute(f"SELECT {', '.join(COLUMNS)} FROM jobs WHERE rowid = ?", (number,))  # noqa: S608 - ours
            records = [record_of(row) for row in rows]
        except (sqlite3.Error, ValueError):
            continue
        for record in records:
            if record.id not in found:
                found.add(record.id)
                yield record


def _last_in(db: sqlite3.Connection) -> int | None:
    try:
        ((last,),) = db.execute("SELECT max(rowid) FROM jobs")
    except (sqlite3.Error, ValueError):
        return None
    return last if isinstance(last, int) else None


def _ids_in(db: sqlite3.Connection) -> list[JobId]:
    """Return the ids that the index of ids can say, which is on pages of its own."""
    ids: list[JobId] = []
    try:
        for (text,) in db.execute("SELECT id FROM jobs INDEXED BY sqlite_autoindex_jobs_1"):
            if isinstance(text, str):
                ids.append(JobId(text))
    except (sqlite3.Error, ValueError):
        return ids  # what came until then
    return ids
