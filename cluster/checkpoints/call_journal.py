"""The calls of one task since a checkpoint, in files beside it, for a run that goes on from it. Knows no model.

    0000000007-1f2e3d4c-0-of-2-9a8b7c6d.calls    since checkpoint 7, of these steps, of instance 0 of 2

What a kill of the process finds written stays written; the system may lose the newest of it with its power, and then
those calls are made again. A file ends where its next checkpoint is taken, and goes once no checkpoint needs it.
"""

import os
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from secrets import token_hex

from cluster.checkpoints.call_entries import Entry, EntryKind, bytes_of_entry, entries_in, len_of_entry
from cluster.checkpoints.folder import CALLS
from cluster.runtime.messages import TaskSpec
from sage.base.log import get_log

MAX_FILE_BYTES = 256 * 2**20
"""What one task keeps of its calls since a checkpoint; calls after that are not kept."""
NUM_STRAY = 1_024
"""Once so many more calls were new than were kept before, what is left of those does not come again."""


class FolderCalls:
    """Used by the task's thread. Where the disk refuses, calls are not kept until the next checkpoint; that is logged.

    An answer is given once for each time that it came: equal calls whose answers are left to chance have each its own.
    Without keys a record may come to another instance than before, and where there are more or fewer instances now: so
    each knows what all of them were answered, and of the answers of others equal calls at two instances have the same.
    """

    def __init__(self, folder: str, begins_at: int, spec: TaskSpec, *, max_file_bytes: int = MAX_FILE_BYTES) -> None:
        """`begins_at`: the checkpoint of this folder from which the run goes on, 0 for its start."""
        self._steps = sha256("\0".join(step.name for step in spec.chain.steps).encode()).hexdigest()[:8]
        self._folder = Path(folder)
        self._whose = f"{self._steps}-{spec.instance}-of-{spec.chain.parallelism}"
        self._task_id = spec.id
        self._since = begins_at
        self._max_file_bytes = max_file_bytes
        self._file: int | None = None
        self._len_bytes = 0
        self._is_refused = False
        self._out: Counter[bytes] = Counter()
        self._kept: dict[bytes, deque[bytes]] = {}
        self._of_others: dict[bytes, deque[bytes]] = {}
        self._was_out: Counter[bytes] = Counter()
        self._num_left_new = NUM_STRAY

    def load(self) -> None:
        """Read what runs before have kept since the checkpoint; raises OSError."""
        for name in sorted(os.listdir(self._folder)) if self._folder.is_dir() else ():
            if not name.endswith(CALLS) or name[11:19] != self._steps or int(name[:10]) < self._since:
                continue
            is_own = name[11:].rpartition("-")[0] == self._whose
            content = self._content(name)
            num_left_bytes = len(content)
            for entry in entries_in(content):
                self._load(entry, self._kept if is_own else self._of_others)
                num_left_bytes -= len_of_entry(entry)
            if num_left_bytes:
                why = "a run was killed as it wrote them, or the disk full; else the file is damaged"
                get_log(file=name).warning("the last calls of a journal are left out", bytes=num_left_bytes, why=why)
            if is_own:
                os.replace(self._folder / name, self._now_named(name))
        self._was_out = +self._was_out

    def take(self, key: bytes) -> bytes | None:
        for kept in (self._kept, self._of_others):
            if (answers := kept.get(key)) is not None:
                answer = answers.popleft()
                if not answers:
                    del kept[key]
                return answer
        return None

    def drop(self, key: bytes, answer: bytes) -> None:
        """Do nothing: an answer is given once, and what was taken is not written again."""

    def asks(self, keys: Sequence[bytes]) -> int:
        """Write down what is asked now; return how many of it were out when the run before was killed."""
        self._out.update(keys)
        self._write(Entry(EntryKind.ASKED, key) for key in keys)
        again = Counter(keys) & self._was_out
        self._was_out -= again
        self._num_left_new -= len(keys)
        return again.total()

    def ended(self, answers: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Write down how calls ended; None: without an answer."""
        self._out -= Counter(key for key, _ in answers)
        self._write(
            Entry(EntryKind.FAILED, key) if answer is None else Entry(EntryKind.ANSWERED, key, answer)
            for key, answer in answers
        )

    def cut(self, checkpoint_id: int) -> None:
        """The task is saved: what it goes on from there needs is what comes now, and what has not come again yet."""
        self.close()
        self._since, self._len_bytes, self._is_refused = checkpoint_id, 0, False
        if self._num_left_new < 0:
            self._kept.clear()
            self._of_others.clear()
        self._write(Entry(EntryKind.ASKED, key) for key in self._out.elements())
        for key, answers in self._kept.items():
            self._write(Entry(EntryKind.ANSWERED, key, answer) for answer in answers)

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _content(self, name: str) -> bytes:
        """Read a file, which its own task may have given its new name meanwhile."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return self._now_named(name).read_bytes()

    def _now_named(self, name: str) -> Path:
        return self._folder / f"{self._since:010d}{name[10:]}"

    def _load(self, entry: Entry, kept: dict[bytes, deque[bytes]]) -> None:
        match entry.kind:
            case EntryKind.ASKED:
                self._was_out[entry.key] += 1
            case EntryKind.ANSWERED:
                self._was_out[entry.key] -= 1
                kept.setdefault(entry.key, deque()).append(entry.answer)
                self._num_left_new += kept is self._kept
            case EntryKind.FAILED:
                self._was_out[entry.key] -= 1

    def _write(self, entries: Iterable[Entry]) -> None:
        content = b"".join(map(bytes_of_entry, entries))
        if not content or self._is_refused:
            return
        if self._len_bytes + len(content) > self._max_file_bytes:
            return self._refuse(f"they take more than {self._max_file_bytes:,} bytes since the last checkpoint")
        try:
            if self._file is None:
                self._file = self._open()
            if os.write(self._file, content) < len(content):
                self._refuse("the disk is full")
        except OSError as error:
            self._refuse(str(error))
        self._len_bytes += len(content)

    def _open(self) -> int:
        name = f"{self._since:010d}-{self._whose}-{token_hex(4)}{CALLS}"
        return os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)

    def _refuse(self, why: str) -> None:
        self._is_refused = True
        get_log(task=self._task_id).warning("calls of models not kept until the next checkpoint", why=why)
