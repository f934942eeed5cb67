"""A damaged journal is mended: what is whole stays, what may have gone on never begins again, the files stay."""

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from types import BuiltinFunctionType, FrameType, ModuleType

import msgspec
import pytest

from cluster.jobs.journal import NUM_EPOCHS, JobRecord
from cluster.jobs.mended_journal import Mending, mend_journal
from cluster.jobs.sqlite_journal import SqliteJournal
from sage.base.errors import JournalDamaged, JournalUnusable
from sage.base.ids import JobId
from sage.flow.runner import JobStatus
from tests.simulation.damage import damaged

NOW_S = 1_000.0
NUM_JOBS = 60


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


def job(number: int, status: JobStatus = JobStatus.RUNNING) -> JobRecord:
    return JobRecord(JobId(f"job-{number:02}"), "flow", b"code" * 50, status, {}, 0, 3, 5.0)


def ended(number: int) -> JobRecord:
    return msgspec.structs.replace(job(number, JobStatus.FINISHED), code=b"", ended_unix_s=9.0)


def write(path: Path) -> dict[JobId, JobRecord]:
    """Keep jobs, every second of which ends; return them as they were kept last."""
    kept: dict[JobId, JobRecord] = {}
    with SqliteJournal(path) as journal:
        journal.reserve_epochs(7)
        for number in range(NUM_JOBS):
            for record in (job(number), *([ended(number)] if number % 2 else [])):
                journal.keep(record)
                kept[record.id] = record
    return kept


def write_killed(path: Path) -> dict[JobId, JobRecord]:
    """Do as `write`; leave the files as a manager does that is killed: all is in the -wal."""
    at_work = path.with_name("at-work")
    at_work.mkdir()
    kept: dict[JobId, JobRecord] = {}
    with SqliteJournal(at_work / path.name) as journal:
        for number in range(NUM_JOBS):
            record = ended(number) if number % 2 else job(number)
            journal.keep(record)
            kept[record.id] = record
        for file in at_work.iterdir():
            shutil.copy2(file, path.with_name(file.name))
    return kept


def flip_bit(path: Path) -> bytes:
    """Damage the middle of a file; return what it holds then."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return bytes(content)


def found(path: Path) -> dict[JobId, JobRecord]:
    with SqliteJournal(path) as journal:
        return {record.id: record for record in journal.jobs()}


def zero_page(path: Path, number: int) -> None:
    with path.open("r+b") as file:
        file.seek(4096 * number)
        file.write(bytes(4096))


def leaf_of_jobs(path: Path) -> int:
    """Return the number of a page that holds jobs, and not their ids alone."""
    content = path.read_bytes()
    pages = [content[start : start + 4096] for start in range(0, len(content), 4096)]
    return next(number for number, page in enumerate(pages) if b"job-06" in page and b"codecode" in page)


def test_a_journal_that_is_whole_is_left_as_it_is(path: Path) -> None:
    kept = write(path)
    before = path.read_bytes()
    assert mend_journal(path, NOW_S) is None
    assert (path.read_bytes(), found(path)) == (before, kept)


def test_what_one_page_took_along_is_named_and_all_else_stays(path: Path) -> None:
    kept = write(path)
    zero_page(path, leaf_of_jobs(path))
    with pytest.raises(JournalDamaged, match="it is corrupt") as error:
        SqliteJournal(path)
    assert error.value.do.startswith("Start with --mend-journal")
    mending = mend_journal(path, NOW_S)
    assert mending is not None
    assert 0 < len(mending.lost) < NUM_JOBS / 2
    assert (mending.num_missing, {*mending.ended, *mending.failed, *mending.lost}) == (0, {*kept})
    check(kept, found(path), mending)


def check(kept: dict[JobId, JobRecord], here: dict[JobId, JobRecord], mending: Mending) -> None:
    """A job that was over is so, or is not there; one that was not has failed, and never begins again."""
    assert {*here} == {*mending.ended, *mending.failed}
    for job_id, record in here.items():
        assert record.is_over
        assert not record.code
        if job_id in mending.ended:
            assert record == kept[job_id]
        else:
            assert record.error is not None
            assert "the journal was damaged" in record.error.failure.what
            assert record.error.failure.do == "Submit it again."


@pytest.mark.parametrize("bit", [0, 13, 31])
def test_a_journal_whose_head_names_another_program_is_mended(path: Path, bit: int) -> None:
    """The file beside it says that it is ours. SQLite has the program's number at byte 68."""
    kept = write(path)
    content = bytearray(path.read_bytes())
    content[68 + bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    with pytest.raises(JournalDamaged, match="its head names another program") as error:
        SqliteJournal(path)
    assert error.value.do.startswith("Start with --mend-journal")
    mending = mend_journal(path, NOW_S)
    assert mending is not None
    assert (mending.lost, mending.num_missing, {*mending.ended, *mending.failed}) == ((), 0, {*kept})
    check(kept, found(path), mending)


@pytest.mark.parametrize(("page", "len_end"), [(5, 40), (3, 400)], ids=["the page of totals", "the page of ids"])
def test_a_page_whose_end_is_missing_says_nothing_and_is_mended(path: Path, page: int, len_end: int) -> None:
    """Rows are at the end of a page; one of zeros has NULLs where none may be."""
    kept: dict[JobId, JobRecord] = {}
    with SqliteJournal(path) as journal:
        for number in range(4):
            kept[job(number).id] = ended(number)
            journal.keep(ended(number))
    content = path.read_bytes()
    end = 4096 * page
    path.write_bytes(content[: end - len_end] + bytes(len_end) + content[end:])
    mending = mend_journal(path, NOW_S)
    assert mending is not None
    assert mending.lost == ()
    assert found(path) == kept


def test_the_files_stay_as_they_were_beside_the_new_ones(path: Path) -> None:
    write(path)
    zero_page(path, leaf_of_jobs(path))
    before = path.read_bytes()
    mending = mend_journal(path, NOW_S)
    assert mending is not None
    assert mending.aside.name == "jobs.db.damaged-1"
    assert mending.aside.read_bytes() == before
    path.write_bytes(before)
    again = mend_journal(path, NOW_S)
    assert again is not None
    assert again.aside.name == "jobs.db.damaged-2"


def test_a_damaged_wal_stays_as_it_was_and_nobody_says_that_no_job_is_lost(path: Path) -> None:
    kept = write_killed(path)
    wal = path.with_name("jobs.db-wal")
    damaged_wal = flip_bit(wal)
    for _ in range(2):
        with pytest.raises(JournalDamaged, match="changes are missing, though they were written"):
            SqliteJournal(path)
        assert wal.read_bytes() == damaged_wal
    mending = mend_journal(path, NOW_S)
    assert mending is not None
    assert mending.aside.with_name("jobs.db.damaged-1-wal").read_bytes() == damaged_wal
    assert (0 < len(found(path)) < NUM_JOBS, mending.num_missing) == (True, None)
    check(kept, found(path), mending)
    beside = {f"jobs.db{end}" for end in ("", ".seen", ".damaged-1", ".damaged-1-wal", ".damaged-1.seen")}
    assert {file.name for file in path.parent.iterdir() if file.is_file()} == beside


def test_a_wal_that_is_whole_is_taken_over(path: Path) -> None:
    kept = write_killed(path)
    assert mend_journal(path, NOW_S) is None
    assert found(path) == kept
    assert not path.with_name("jobs.db-wal").exists()


def test_epochs_go_on_growing_though_nobody_knows_what_was_given(path: Path) -> None:
    write(path)
    path.write_bytes(b"")
    assert mend_journal(path, NOW_S) is not None
    with SqliteJournal(path) as journal:
        assert journal.reserve_epochs(int(NOW_S * 1000)) > 7 + NUM_EPOCHS * NUM_JOBS


def test_a_journal_that_another_manager_uses_is_not_mended(path: Path) -> None:
    with SqliteJournal(path), pytest.raises(JournalUnusable, match="another job manager uses it") as error:
        mend_journal(path, NOW_S)
    assert error.value.do.startswith("End the other one")
    assert [file.name for file in path.parent.iterdir() if "damaged" in file.name] == []


def test_what_is_left_when_mending_is_killed_is_refused_until_it_is_mended(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new file is in its place, and the count beside it is still that of the old one."""
    kept = write(path)
    zero_page(path, leaf_of_jobs(path))

    class Killed(BaseException):
        pass

    def replace(source: Path, target: Path) -> None:
        if target.suffix == ".seen":
            raise Killed
        source.rename(target)

    with monkeypatch.context() as patched:
        patched.setattr("cluster.jobs.mended_journal.os.replace", replace)
        with pytest.raises(Killed):
            mend_journal(path, NOW_S)
    with pytest.raises(JournalDamaged):
        SqliteJournal(path)
    mending = mend_journal(path, NOW_S)
    assert mending is not None
    assert all(record.is_over for record in found(path).values())
    assert {*found(path)} < {*kept}


def test_whatever_is_damaged_no_job_that_was_over_changes_and_none_begins_again(tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    kept = write(made / "jobs.db")
    files = {file.name: file.read_bytes() for file in made.iterdir()}
    rng, num_saved = Random(3), list[int]()
    for number in range(25):
        folder = tmp_path / str(number)
        folder.mkdir(mode=0o700)
        changed = dict(files)
        for _ in range(rng.choice((1, 1, 2, 4))):
            name = rng.choice(("jobs.db", "jobs.db", "jobs.db", "jobs.db.seen"))
            changed[name], _ = damaged(changed[name], rng)
        for name, content in changed.items():
            (folder / name).write_bytes(content)
            (folder / name).chmod(0o600)
        try:
            mending = mend_journal(folder / "jobs.db", NOW_S)
        except JournalUnusable:  # of another program or version, as far as the file says
            continue
        here = found(folder / "jobs.db")
        if mending is None:
            assert here == kept
        else:
            num_saved.append(len(here))
            check(kept, here, mending)
    assert sum(num_saved) / len(num_saved) > NUM_JOBS / 3


def changes_files(called: object) -> bool:
    match called:
        case BuiltinFunctionType(__name__="close", __self__=whose):
            return isinstance(whose, sqlite3.Connection)
        case BuiltinFunctionType(__name__=name, __self__=ModuleType()):
            return name in ("open", "replace", "unlink", "sendfile", "connect")
        case _:
            return False


def killed_before(number: int, work: Callable[[], object]) -> bool:
    """Do `work` in a process that is killed before the file operation `number`; return whether it came to that."""
    child = os.fork()
    if child == 0:
        left = iter(range(number))

        def count_down(_: FrameType, event: str, called: object) -> None:
            if event == "c_call" and changes_files(called) and next(left, None) is None:
                os._exit(1)

        try:
            sys.setprofile(count_down)
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


@pytest.mark.parametrize("in_wal", [True, False], ids=["the -wal is damaged", "a page is damaged"])
def test_mending_that_is_killed_at_any_file_operation_ends_as_one_that_is_not(tmp_path: Path, in_wal: bool) -> None:
    """No job is lost that was whole, the damaged files are kept, once or twice, and nothing else is left."""
    made = tmp_path / "made" / "jobs.db"
    made.parent.mkdir()
    if in_wal:
        write_killed(made)
        shutil.rmtree(made.with_name("at-work"))
        damaged_content = flip_bit(made.with_name("jobs.db-wal"))
    else:
        write(made)
        zero_page(made, leaf_of_jobs(made))
        damaged_content = made.read_bytes()
    whole = tmp_path / "whole" / "jobs.db"
    shutil.copytree(made.parent, whole.parent)
    assert mend_journal(whole, NOW_S) is not None
    expected = found(whole)
    for number in count():
        path = tmp_path / str(number) / "jobs.db"
        shutil.copytree(made.parent, path.parent)
        was_killed = killed_before(number, partial(mend_journal, path, NOW_S))
        mend_journal(path, NOW_S)
        assert found(path) == expected, f"killed before the file operation {number}"
        left = {file.name for file in path.parent.iterdir() if file.is_file() and ".damaged-" not in file.name}
        aside = [file.read_bytes() for file in path.parent.glob("jobs.db.damaged-*")]
        assert damaged_content in aside, f"killed before the file operation {number}"
        assert left == {"jobs.db", "jobs.db.seen"}, f"killed before the file operation {number}"
        if not was_killed:
            assert number > 10
            return
