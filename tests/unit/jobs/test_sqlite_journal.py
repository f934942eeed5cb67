"""The journal's file: what it survives, and what it says where it cannot be used."""

import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from cluster.jobs.journal import JobRecord
from cluster.jobs.sqlite_journal import APPLICATION_ID, SqliteJournal
from sage.base.errors import JournalUnusable
from sage.base.ids import JobId
from sage.flow.runner import JobStatus

RECORD = JobRecord(JobId("job-1"), "flow", b"code", JobStatus.RUNNING, {}, 0, 1, 5.0)
ROOT = Path(__file__).parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


def kept(path: Path) -> tuple[JobRecord, ...]:
    with SqliteJournal(path) as journal:
        return journal.jobs()


def test_jobs_are_there_when_the_journal_is_opened_again(path: Path) -> None:
    with SqliteJournal(path) as journal:
        journal.keep(RECORD)
    assert kept(path) == (RECORD,)


def test_what_was_kept_survives_a_manager_that_is_killed(path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from cluster.jobs.sqlite_journal import SqliteJournal\n"
        "from tests.unit.jobs.test_sqlite_journal import RECORD\n"
        "SqliteJournal(Path(sys.argv[1])).keep(RECORD)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, timeout=60, check=False)
    assert done.returncode == -9
    assert kept(path) == (RECORD,)


def test_the_file_is_written_through_and_is_its_owners_alone(path: Path) -> None:
    with SqliteJournal(path) as journal:
        journal.keep(RECORD)
        found = [journal._rows(f"PRAGMA {name}")[0][0] for name in ("journal_mode", "synchronous")]
        assert found == ["wal", 2]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_managers_cannot_use_one_journal(path: Path) -> None:
    with SqliteJournal(path) as journal:
        with pytest.raises(JournalUnusable, match="another job manager uses it"):
            SqliteJournal(path)
        journal.keep(RECORD)
    assert kept(path) == (RECORD,)


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\x00" + b"\xff" * 5000, b"x" * 100_000])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(JournalUnusable, match=r"jobs\.db cannot be used: it is corrupt"):
        SqliteJournal(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("CREATE TABLE theirs (x)", "it is the database of another program"),
        ("PRAGMA application_id = 7", "it is the database of another program"),
        (f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 9", "it has version 9, this program writes"),
    ],
)
def test_a_database_of_another_program_or_version_is_refused(path: Path, statement: str, why: str) -> None:
    with closing(sqlite3.connect(path)) as theirs:
        theirs.executescript(statement)
    with pytest.raises(JournalUnusable, match=why):
        SqliteJournal(path)


@pytest.mark.parametrize(
    "change", ["status = 'sleeping'", "placement = '{'", "error = '[]'", "code = x'00', error = ''"]
)
def test_a_record_that_makes_no_sense_is_told(path: Path, change: str) -> None:
    with SqliteJournal(path) as journal:
        journal.keep(RECORD)
    with closing(sqlite3.connect(path, isolation_level=None)) as broken:
        broken.execute(f"UPDATE jobs SET {change}")
    with pytest.raises(JournalUnusable, match="it is corrupt"):
        kept(path)


def test_pages_that_were_overwritten_are_found(path: Path) -> None:
    with SqliteJournal(path) as journal:
        for number in range(200):
            journal.keep(JobRecord(JobId(f"job-{number}"), "x" * 100, b"c", JobStatus.RUNNING, {}, 0, 0, 0.0))
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xaa" * (size // 4))
    with pytest.raises(JournalUnusable, match="it is corrupt"):
        kept(path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalUnusable, match=r"nowhere/jobs\.db cannot be used: .*No such file"):
        SqliteJournal(tmp_path / "nowhere" / "jobs.db")


def test_a_disk_that_is_full_is_told_and_the_journal_goes_on_when_it_is_not(path: Path) -> None:
    with SqliteJournal(path) as journal:
        (num_pages,) = journal._rows("PRAGMA page_count")[0]
        journal._db.execute(f"PRAGMA max_page_count = {num_pages}")
        with pytest.raises(JournalUnusable, match="full"):
            journal.keep(JobRecord(JobId("job-2"), "f", b"c" * 1_000_000, JobStatus.RUNNING, {}, 0, 0, 0.0))
        journal._db.execute("PRAGMA max_page_count = 1000000")
        journal.keep(RECORD)
        assert journal.jobs() == (RECORD,)
