"""The journal of a simulated head in a real one's files, which may rot between two of its lives. Knows no job.

SQLite writes them. A head that is killed leaves them as they are at that moment; what it was writing then may be torn.
What was kept is written down here too: a journal that opens must say just that, and one that was mended nothing else.
"""

from collections import deque
from pathlib import Path

from cluster.jobs.journal import Forgotten, JobRecord, Journal
from cluster.jobs.mended_journal import Mending, mend_journal
from cluster.jobs.sqlite_journal import JOURNAL, SqliteJournal
from sage.base.errors import JobInterrupted, JournalDamaged, JournalUnusable
from sage.base.ids import JobId
from sage.flow.runner import JobStatus
from tests.simulation.damage import damaged
from tests.simulation.disk import Disk
from tests.simulation.world import World

_SUFFIXES = ("", "-wal", ".seen")
_WEIGHTS = (3, 6, 1)
_LEN_PAGE = 4096
_NUM_BEFORE = 8
_ORDERLY_SHARE = 0.5
_TORN_SHARE = 0.5
_OLDER_SHARE = 0.5

Files = dict[str, bytes]
"""By suffix."""


class JournalFiles(Disk):
    """`wrong`: what must not be. `refused`: what heads said that found rot; `mendings`: what came of mending it."""

    def __init__(self, world: World, folder: Path) -> None:
        super().__init__(world)
        self.wrong: list[str] = []
        self.refused: list[JournalDamaged] = []
        self.mendings: list[Mending] = []
        self.num_rotten = 0
        self._path = folder / JOURNAL
        self._open: SqliteJournal | None = None
        self._before: deque[Files] = deque(maxlen=_NUM_BEFORE)
        self._unsure: JobRecord | None = None  # being kept: it is there or not where the head dies now

    def journal(self) -> Journal:
        """Open what there is, for the next life of a head; raises JournalDamaged."""
        self._crash()
        try:
            self._open = SqliteJournal(self._path)
        except JournalDamaged as error:
            self.refused.append(error)
            if error.code != "SAGE-2112" or "--mend-journal" not in error.do or str(self._path) not in error.what:
                self.wrong.append(f"a damaged journal was refused by {error!r}")
            raise
        found = {str(record.id): record for record in self._open.jobs()}
        for job_id in {**self.records, **found}:
            self._check_kept(job_id, found.get(job_id))
        self._settle(found)
        return _FilesJournal(self, self._open)

    def rot(self) -> str:
        """Let the disk spoil one of the files, while no head has them open; return what it did, for people."""
        self._crash()
        rng, now = self.world.rng, self._files()
        suffixes = [suffix for suffix in _SUFFIXES if now.get(suffix)]
        suffix = rng.choices(suffixes, [_WEIGHTS[_SUFFIXES.index(suffix)] for suffix in suffixes])[0]
        content = now[suffix]
        before = [old[suffix] for old in self._before if old.get(suffix, content) != content]
        if not before or rng.random() >= _OLDER_SHARE:
            now[suffix], what = damaged(content, rng)
        elif rng.random() < 0.5:
            now[suffix], what = rng.choice(before), "is an older one"
        else:
            now[suffix], what = self._with_older_page(content, rng.choice(before))
        self._put(now)
        self.num_rotten += 1
        return f"{self._path.name}{suffix} {what}"

    def mend(self, now_unix_s: float) -> set[str]:
        """Do as `--mend-journal`; return the ids of the jobs that are not known any more."""
        self._crash()
        mending = mend_journal(self._path, now_unix_s)
        with SqliteJournal(self._path) as journal:
            found = {str(record.id): record for record in journal.jobs()}
        if mending is None:
            self.wrong.append("a journal that was refused has nothing to be mended")
            return set()
        self.mendings.append(mending)
        self._check_mended(mending, found)
        gone = self.records.keys() - found.keys()
        self._settle(found)
        return gone

    # For journals.

    def begins(self, record: JobRecord) -> None:
        if self.is_full:
            raise JournalUnusable("the simulated disk is full")
        self._unsure = record
        self._before.append(self._files())
        self.world.yield_now()  # who dies here has written nothing, or a part

    def has_kept(self, record: JobRecord) -> None:
        self.records[record.id] = record
        self.world.yield_now()  # who dies here does not know that it has
        self._unsure = None

    # Files.

    def _files(self) -> Files:
        paths = {suffix: self._path.with_name(f"{self._path.name}{suffix}") for suffix in _SUFFIXES}
        return {suffix: path.read_bytes() for suffix, path in paths.items() if path.exists()}

    def _put(self, files: Files) -> None:
        for suffix in _SUFFIXES:
            path = self._path.with_name(f"{self._path.name}{suffix}")
            path.unlink(missing_ok=True)
            if suffix in files:
                path.touch(mode=0o600)
                path.write_bytes(files[suffix])

    def _crash(self) -> None:
        """Leave the files as whoever had them open was killed; now and then as after an end in good order."""
        if self._open is None:
            return
        rng, left = self.world.rng, self._files()
        unsure = self._unsure
        if unsure is not None and self.records.get(unsure.id) != unsure and rng.random() < _TORN_SHARE:
            self._open.keep(unsure)
            whole = self._files()["-wal"]
            left["-wal"] = whole[: rng.randint(len(left.get("-wal", b"")), len(whole))]
        self._open.close()
        self._open = None
        if rng.random() >= _ORDERLY_SHARE:
            self._put(left)

    def _with_older_page(self, content: bytes, before: bytes) -> tuple[bytes, str]:
        starts = [
            start
            for start in range(0, min(len(content), len(before)), _LEN_PAGE)
            if content[start : start + _LEN_PAGE] != before[start : start + _LEN_PAGE]
        ]
        if not starts:
            return before, "is an older one"
        start = self.world.rng.choice(starts)
        older = before[start : start + _LEN_PAGE]
        return content[:start] + older + content[start + len(older) :], f"has an older page at {start}"

    # What must be.

    def _settle(self, found: dict[str, JobRecord]) -> None:
        self.records = found
        self._unsure = None
        self._before.clear()

    def _may_be(self, job_id: str) -> list[JobRecord | None]:
        unsure = self._unsure
        return [self.records.get(job_id), *([unsure] if unsure is not None and unsure.id == job_id else [])]

    def _check_kept(self, job_id: str, found: JobRecord | None) -> None:
        if found not in self._may_be(job_id):
            self.wrong.append(f"the journal was opened with {found} instead of {self.records.get(job_id)}")

    def _check_mended(self, mending: Mending, found: dict[str, JobRecord]) -> None:
        if found.keys() != {*mending.ended, *mending.failed}:
            self.wrong.append(f"mended are {mending.ended} and {mending.failed}, and there are {found.keys()}")
        for job_id in mending.ended:
            self._check_kept(job_id, found[job_id])
        for job_id in mending.failed:
            is_known = any(self._may_be(job_id))
            if not is_known or not _is_interrupted(found[job_id]):
                self.wrong.append(f"{job_id} was mended to {found[job_id]}")
        named: set[JobId] = {*mending.ended, *mending.failed, *mending.lost}
        unnamed = [job_id for job_id in self.records if job_id not in named]
        num = mending.num_missing
        if num is not None and num != len(unnamed) and self._unsure is None:
            self.wrong.append(f"{num} jobs are said to be missing, and these are: {unnamed}")


def _is_interrupted(record: JobRecord) -> bool:
    is_failed = record.status is JobStatus.FAILED and not record.code
    return is_failed and record.error is not None and isinstance(record.error.error(), JobInterrupted)


class _FilesJournal:
    """A Journal in files, of which the world is told what it keeps."""

    def __init__(self, disk: JournalFiles, journal: SqliteJournal) -> None:
        self._disk = disk
        self._journal = journal

    def keep(self, record: JobRecord) -> None:
        self._disk.begins(record)
        self._journal.keep(record)
        self._disk.has_kept(record)

    def jobs(self) -> tuple[JobRecord, ...]:
        return self._journal.jobs()

    def forgotten(self) -> Forgotten:
        return self._journal.forgotten()

    def reserve_epochs(self, at_least: int) -> int:
        return self._journal.reserve_epochs(at_least)

    def close(self) -> None:
        """Whoever ends in a simulation closes nothing."""
