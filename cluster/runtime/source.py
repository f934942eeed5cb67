"""The source of a task: where it begins, what it gives, where it is. Knows nothing of what is read."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from cluster.runtime.due_marks import DueMarks
from cluster.runtime.failures import SourceErrors
from cluster.runtime.messages import TaskSpec
from cluster.runtime.posts import ListeningReader, PostLog
from cluster.runtime.saving import ReadAfter, ReadFrom, Reading, ReadNoMore, ReadParts
from operators.partitions_reader import DealtReader
from operators.read_times import ReadTimes
from sage.base.errors import CheckpointUnusable, SageError, SourceUnreadable
from sage.flow.dealing import PartitionsRead
from sage.flow.ports import MarkedReader, PacedReader, SourceReader, WokenReader
from sage.flow.spec import Read

Reader = SourceReader[Any]
READ_TIMER = -2
"""The timer at which a paused source is read again; those of machines are 0 and above."""


class ReaderWorkshop(Protocol):
    """Opens sources. Called on the task's thread."""

    def reader(self, spec: TaskSpec) -> Reader | None:
        """Open the source where the chain begins with a Read; raises SourceUnreadable, or what the source raises."""
        ...

    def reader_at(self, spec: TaskSpec, position: Any) -> Reader:
        """Open the source where an earlier reader said it was; raises SourceUnreadable, or what the source raises."""
        ...


class TaskSource:
    """What one task reads; nothing where its chain does not begin with a Read."""

    def __init__(self, spec: TaskSpec, dues: DueMarks | None = None) -> None:
        """`dues`: marks records that are due some time after they came."""
        self._spec = spec
        self._dues = dues
        self._errors = SourceErrors(spec)
        self._reader: Reader | None = None
        self._marked: MarkedReader[Any] | None = None  # the same, where it knows event time
        self._paced: PacedReader[Any] | None = None
        self._listening: ListeningReader | None = None  # the same, where it takes what is sent to it
        self._num_read = 0
        self._num_before = 0  # so many are read again first, and passed over
        self._dealt: DealtReader | None = None  # the same, where it reads what was dealt to this instance
        self._read_last: PartitionsRead | None = None  # what was read of partitions, once they are read no more
        self._has_passed = False
        self.is_paused = False
        """It is not to be read before the READ_TIMER comes."""
        self.is_held = False
        """Its job is paused: it is not to be read until that goes on."""
        self.is_woken = False
        """A read that gives nothing is no end: the source wakes its task when there is something."""

    @property
    def is_open(self) -> bool:
        return self._reader is not None

    def open(self, workshop: ReaderWorkshop, reading: Reading | None, *, has_ended: bool = False) -> None:
        """Begin, or go on where a reading was. `has_ended`: all was read, by every instance.

        Raises SourceUnreadable.
        """
        with self._errors:
            match reading:
                case None:
                    self._reader = workshop.reader(self._spec)
                case ReadFrom(position):
                    self._reader = workshop.reader_at(self._spec, position)
                case ReadAfter(num_records):
                    self._reader = workshop.reader(self._spec)
                    self._num_before = num_records
                case ReadParts(read) if has_ended:
                    self._read_last = read
                case ReadParts(read):
                    self._reader = workshop.reader_at(self._spec, read)
                case ReadNoMore():
                    pass
        self._dealt = self._reader if isinstance(self._reader, DealtReader) else None
        if self._dealt is not None and self._num_before:
            what = f"step {self._spec.chain.steps[0].name!r} was read as a whole, and is now to be read by partitions"
            raise CheckpointUnusable(what, 'Begin anew: resume="never".')
        # Once, and not at each read: to ask for a protocol takes 30 us, as long as all else that is done for a record.
        self._marked = self._reader if isinstance(self._reader, MarkedReader) else None
        self._paced = self._reader if isinstance(self._reader, PacedReader) else None

    @property
    def times(self) -> ReadTimes | None:
        """Event time by partitions; None where the source is not read by them."""
        return self._dealt.times if self._dealt is not None else None

    @property
    def listing(self) -> str:
        """What this instance has found there is to read; "" where that is not dealt."""
        return self._dealt.listing if self._dealt is not None else ""

    @property
    def url(self) -> str:
        """Where to post to it; "" where it does not listen."""
        return self._listening.url if self._listening is not None else ""

    def keep_in(self, log: PostLog | None) -> None:
        """Have a source that listens keep what it takes; None where nothing is kept. Raises CheckpointUnusable."""
        if isinstance(self._reader, ListeningReader):
            self._listening = self._reader
            if log is not None:
                self._reader.keep_in(log)

    def begin(self) -> None:
        """Every task of the job is open: a source that listens takes what comes."""
        if self._listening is not None:
            self._listening.begin()

    def wake_by(self, wake: Callable[[], object]) -> None:
        """Have a source that never waits call `wake`, on any thread, when there is something to read again."""
        if isinstance(self._reader, WokenReader):
            self.is_woken = True
            self._reader.wake_by(wake)

    def rests(self, set_timer: Callable[[int, float], None]) -> bool:
        """Say whether a read that gave nothing is not to be tried again at once: it is woken, or after a pause."""
        if self._has_passed:
            return False
        if self._paced is not None and (pause_s := self._paced.pause_s()) > 0.0:
            self.is_paused = True
            set_timer(READ_TIMER, pause_s)
        return self.is_woken or self.is_paused

    def read(self, max_records: int) -> Sequence[Any] | None:
        """Return what comes next; None at the end, and then the source is closed. Raises SourceUnreadable.

        What an earlier reading gave is passed over, a read at a time: between two of them a job is stopped.
        """
        assert self._reader is not None, self._spec
        num_before = self._num_before - self._num_read
        try:  # not `with self._errors`: for each batch that takes as long as the read of a list
            values = self._reader.read(min(max_records, num_before) if num_before > 0 else max_records)
        except SageError:
            raise
        except Exception as error:
            raise self._errors.told(error) from error
        self._has_passed = num_before > 0 and bool(values)
        if values is None:
            self._read_last = self._dealt.read_so_far() if self._dealt is not None else None
            self.close()
            self._check_passed()
            return None
        self._num_read += len(values)
        if num_before > 0:
            return []
        return values if self._dues is None or not values else self._dues.mark(values)

    def watermark_s(self) -> float | None:
        """Return how far event time is, where the source knows and it is news. Raises SourceUnreadable."""
        if self._marked is None:
            return None
        with self._errors:
            return self._marked.watermark_s()

    def cut(self, checkpoint_id: int) -> None:
        """A checkpoint is taken: what comes from now on is not in the `reading` that is asked for next."""
        if self._listening is not None:
            self._listening.cut(checkpoint_id)

    def reading(self) -> Reading | None:
        """Return where it is; None where nothing is read here."""
        if not isinstance(self._spec.chain.steps[0].spec, Read):
            return None
        if self._read_last is not None:
            return ReadParts(self._read_last)
        if self._dealt is not None:
            with self._errors:
                return ReadParts(self._dealt.read_so_far())
        if self._reader is None:
            return ReadNoMore()
        position = getattr(self._reader, "position", None)
        if position is None:
            return ReadAfter(max(self._num_read, self._num_before))
        with self._errors:
            return ReadFrom(position())

    def close(self) -> None:
        reader, self._reader = self._reader, None
        self._marked = self._paced = self._listening = self._dealt = None
        if reader is not None:
            reader.close()

    def _check_passed(self) -> None:
        """Refuse a source that has ended before it gave again what it gave before."""
        if self._num_read < self._num_before:
            raise SourceUnreadable(
                f"the source of step {self._spec.chain.steps[0].name!r} gave {self._num_before} records before, now "
                f"{self._num_read}",
                "Let its reader say where it is: position(), and open_at(position) on the source.",
            )
