"""The journal's file: what it survives, and what it says where it cannot be used."""

import shutil
import sqlite3
import stat
import subprocess
import sys
import zlib
from contextlib import closing
from pathlib import Path
from random import Random

import msgspec
import pytest
from structlog.testing import capture_logs

from cluster.jobs.journal import NUM_EPOCHS, JobRecord
from cluster.jobs.journal_rows import COLUMNS, JournalTotals, record_of, row_of
from cluster.jobs.sqlite_journal import APPLICATION_ID, SqliteJournal
from sage.base.errors import JournalDamaged, JournalUnusable
from sage.base.ids import JobId, NodeId
from sage.flow.runner import ChainMetrics, JobMetrics, JobStatus
from tests.unit.full_disk import files_of_at_most

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


class MetricsBefore(msgspec.Struct, frozen=True):
    """Metrics of jobs when they had fewer fields."""

    status: JobStatus
    records_in: int
    records_out: int
    duration_s: float
    chains: tuple[ChainMetrics, ...]


def test_a_job_written_when_jobs_had_fewer_fields_is_read_with_their_defaults() -> None:
    chain = ChainMetrics("c1", ("read", "print"), (NodeId("node-1"),), 1, 3, 2)
    before = MetricsBefore(JobStatus.FINISHED, 3, 2, 0.25, (chain,))
    over = msgspec.structs.replace(RECORD, status=JobStatus.FINISHED, ended_unix_s=6.0)
    fields = {name: getattr(over, name) for name in JobRecord.__struct_fields__} | {"metrics": before}
    row = row_of(over, 1, 7) | {
        "metrics": msgspec.json.encode(before).decode(),
        "crc": zlib.crc32(msgspec.msgpack.encode((1, 7, fields))),
    }
    now = JobMetrics(before.status, before.records_in, before.records_out, before.duration_s, before.chains)
    assert record_of([row[name] for name in COLUMNS]) == msgspec.structs.replace(over, metrics=now)


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
    path.chmod(0o600)
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
    path.chmod(0o600)
    with pytest.raises(JournalUnusable, match=why):
        SqliteJournal(path)


@pytest.mark.parametrize(
    "change",
    [
        *("status = 'sleeping'", "placement = '{'", "error = '[]'", "code = x'00', error = ''"),
        *("code = x'00'", "number = 7", "num_restarts_left = 9", "ended_number = 1"),
    ],
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


@pytest.mark.parametrize("mode", [0o660, 0o604])
def test_a_file_that_others_can_open_is_refused_for_its_code_would_be_run(path: Path, mode: int) -> None:
    with SqliteJournal(path) as journal:
        journal.keep(RECORD)
    path.chmod(mode)
    with pytest.raises(JournalUnusable, match=rf"with mode {mode:04o}, and must be this user's alone"):
        SqliteJournal(path)


def test_epochs_grow_from_head_to_head_whatever_the_clock_says(path: Path) -> None:
    firsts = []
    for at_least in (1_000, 5, 10 * NUM_EPOCHS):
        with SqliteJournal(path) as journal:
            firsts.append(journal.reserve_epochs(at_least))
    assert firsts == [1_000, 1_000 + NUM_EPOCHS, 10 * NUM_EPOCHS]


def written(folder: Path) -> tuple[dict[str, bytes], list[tuple[JobRecord, ...]]]:
    """Return the files of a journal whose manager was killed, by name, and what it had kept after each change."""
    folder.mkdir()
    journal, states = SqliteJournal(folder / "jobs.db", max_ended=5), list[tuple[JobRecord, ...]]()
    for number in range(12):
        running = JobRecord(JobId(f"job-{number}"), "x" * 40, bytes(range(200)), JobStatus.RUNNING, {}, 0, 3, 0.5)
        journal.keep(running)
        states.append(journal.jobs())
        if number % 2:
            journal.keep(msgspec.structs.replace(running, status=JobStatus.FINISHED, code=b""))
            states.append(journal.jobs())
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    journal.close()
    return files, states


def found(folder: Path, files: dict[str, bytes]) -> tuple[JobRecord, ...] | None:
    """Return what a journal of these files holds; None where it is refused."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    try:
        return kept(folder / "jobs.db")
    except JournalUnusable:
        return None


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_bit_that_was_flipped_anywhere_is_found_or_changes_nothing(tmp_path: Path, is_closed: bool) -> None:
    files, states = written(tmp_path / "made")
    if is_closed:  # everything is in the file itself then, and nothing in its -wal
        files = {file.name: file.read_bytes() for file in (tmp_path / "made").iterdir()}
    rng, num_refused = Random(7), 0
    for _ in range(400):
        name = rng.choice(sorted(files))
        changed = bytearray(files[name])
        bit = rng.randrange(8 * len(changed))
        changed[bit // 8] ^= 1 << bit % 8
        came = found(tmp_path / "flipped", {**files, name: bytes(changed)})
        assert came in (None, states[-1]), (name, bit)
        num_refused += came is None
    assert num_refused > 50


def test_whatever_is_cut_off_the_newest_changes_is_found_or_changes_nothing(tmp_path: Path) -> None:
    files, states = written(tmp_path / "made")
    wal = files["jobs.db-wal"]
    for length in range(0, len(wal), len(wal) // 150):
        assert found(tmp_path / "torn", {**files, "jobs.db-wal": wal[:length]}) in (None, states[-1]), length


def test_a_change_that_was_torn_by_a_power_cut_leaves_the_last_good_state(tmp_path: Path) -> None:
    """What was not synced yet is gone, and with it what the second file would know of it."""
    files, states = written(tmp_path / "made")
    wal = files["jobs.db-wal"]
    del files["jobs.db.seen"]
    for num_bytes in (1, 100, 2_000, 4_000):
        assert found(tmp_path / "torn", {**files, "jobs.db-wal": wal[:-num_bytes]}) == states[-2]


def test_a_journal_that_lost_what_was_written_says_how_to_go_on(tmp_path: Path) -> None:
    files, states = written(tmp_path / "made")
    folder = tmp_path / "lost"
    wal = files["jobs.db-wal"]
    assert found(folder, {**files, "jobs.db-wal": wal[: len(wal) // 2]}) is None
    with pytest.raises(JournalDamaged, match=r"the newest \d+ changes are missing, though they were written") as error:
        SqliteJournal(folder / "jobs.db")
    assert "Start with --mend-journal" in error.value.do
    (folder / "jobs.db.seen").unlink()
    assert kept(folder / "jobs.db") in states[:-1]


def test_a_disk_that_is_full_for_the_second_file_alone_refuses_nothing(path: Path) -> None:
    with SqliteJournal(path) as journal:
        seen = path.with_name("jobs.db.seen")
        seen.unlink()
        seen.mkdir()
        with capture_logs() as logs:
            journal.keep(RECORD)
        seen.rmdir()
    assert [line["event"] for line in logs] == ["journal's second file not written"]
    assert kept(path) == (RECORD,)


def test_a_page_that_the_disk_never_wrote_is_found_though_each_job_on_it_is_sound(tmp_path: Path) -> None:
    """A job that has ended would begin again, were it believed to be as it was before."""
    folder = tmp_path / "made"
    folder.mkdir()
    with SqliteJournal(folder / "jobs.db") as journal:
        for number in range(30):
            journal.keep(JobRecord(JobId(f"job-{number}"), "x" * 40, b"c" * 200, JobStatus.RUNNING, {}, 0, 3, 0.5))
    before = (folder / "jobs.db").read_bytes()
    with SqliteJournal(folder / "jobs.db") as journal:
        journal.keep(JobRecord(JobId("job-7"), "x" * 40, b"", JobStatus.FINISHED, {}, 0, 3, 0.5))
        newest = journal.jobs()
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    after = files["jobs.db"]
    changed = [at for at in range(0, len(after), 4096) if after[at : at + 4096] != before[at : at + 4096]]
    assert len(changed) > 1
    for at in changed:
        older = after[:at] + before[at : at + 4096] + after[at + 4096 :]
        assert found(tmp_path / "older", {**files, "jobs.db": older}) is None, at
    assert found(tmp_path / "older", files) == newest


def test_a_disk_without_room_is_named_and_no_job_is_to_be_given_up_for_it(path: Path) -> None:
    with SqliteJournal(path) as journal:
        journal.keep(RECORD)
        wal = path.with_name("jobs.db-wal")
        with files_of_at_most(wal.stat().st_size), pytest.raises(JournalUnusable) as error:
            journal.keep(msgspec.structs.replace(RECORD, status=JobStatus.FINISHED))
    assert not isinstance(error.value, JournalDamaged)
    assert error.value.do.startswith("Make room on its disk")
    assert kept(path) == (RECORD,)
    with files_of_at_most(path.stat().st_size), pytest.raises(JournalUnusable) as error, SqliteJournal(path) as journal:
        journal.keep(msgspec.structs.replace(RECORD, code=b"x" * 10_000))
    assert error.value.do.startswith("Make room on its disk")
    assert kept(path) == (RECORD,)


def test_a_journal_of_the_version_before_is_taken_and_has_a_sum_from_then_on(path: Path) -> None:
    with SqliteJournal(path) as journal:
        journal.keep(RECORD)
    with closing(sqlite3.connect(path, isolation_level=None)) as older:
        ((*values, _),) = older.execute("SELECT * FROM totals")
        older.execute("UPDATE totals SET crc = ?", (JournalTotals(*values).crc(None),))
        older.execute("PRAGMA user_version = 2")
    assert kept(path) == (RECORD,)
    with closing(sqlite3.connect(path)) as newer:
        assert newer.execute("PRAGMA user_version").fetchone() == (3,)
        ((*values, crc),) = newer.execute("SELECT * FROM totals")
    assert crc != JournalTotals(*values).crc(None)
    assert kept(path) == (RECORD,)


def test_a_count_that_cannot_be_read_is_named_with_what_to_remove(path: Path) -> None:
    with SqliteJournal(path) as journal:
        journal.keep(RECORD)
    seen = path.with_name("jobs.db.seen")
    seen.write_bytes(b"0000\xff")
    with pytest.raises(JournalDamaged, match=r"jobs\.db\.seen") as error:
        SqliteJournal(path)
    assert error.value.do.startswith("Remove it, if nothing else on this disk was damaged")
    seen.unlink()
    assert kept(path) == (RECORD,)
