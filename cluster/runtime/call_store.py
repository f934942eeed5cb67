"""Answers of calls in a SQLite file, for every run and process that opens it. Knows nothing of what was asked.

An answer that cannot be read counts as none, and one that cannot be kept is let go: a cache saves work, no job fails
by it once it is open.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cluster.runtime.file_lock import lock_within
from sage.base.errors import CacheUnusable
from sage.base.log import get_log

FILE = "calls.sqlite"
BUSY_S = 5.0
"""How long a writer waits for another process."""

OPEN_S = 30.0
"""How long one that opens the cache waits for others that do: each takes some milliseconds, unless it is stopped."""

LEN_ENTRY = 64
"""Bytes that count for an entry beside its answer; the triggers below count them too."""

_FULL = 0.9
"""Where it is full, as much of it is left once the oldest are gone."""

_TABLES = """
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB UNIQUE NOT NULL, answer BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS held (num_bytes INTEGER NOT NULL);
INSERT INTO held SELECT 0 WHERE NOT EXISTS (SELECT * FROM held);
CREATE TRIGGER IF NOT EXISTS came AFTER INSERT ON answers BEGIN
    UPDATE held SET num_bytes = num_bytes + length(NEW.answer) + 64; END;
CREATE TRIGGER IF NOT EXISTS gone AFTER DELETE ON answers BEGIN
    UPDATE held SET num_bytes = num_bytes - length(OLD.answer) - 64; END;
"""


class CallStore:
    """One process's way to a cache; opened at its first use, and used by one thread. A CallJournal."""

    def __init__(self, folder: str, max_bytes: int, *, open_s: float = OPEN_S) -> None:
        self._open_s = open_s
        self._file = Path(folder) / FILE
        self._max_bytes = max_bytes
        self._db: sqlite3.Connection | None = None
        self._has_warned = False

    def take(self, key: bytes) -> bytes | None:
        """Return the answer to what is known by `key`, as often as it is asked. Raises CacheUnusable."""
        db = self._opened()
        try:
            found = db.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            self._warn(error)
            return None
        return None if found is None else bytes(found[0])

    def drop(self, key: bytes, answer: bytes) -> None:
        """Keep `answer` no longer, where no other process has dropped it already. Raises CacheUnusable."""
        db = self._opened()
        try:
            db.execute("DELETE FROM answers WHERE key = ? AND answer = ?", (key, answer))
        except sqlite3.Error as error:
            self._warn(error)

    def asks(self, keys: Sequence[bytes]) -> int:
        """Remember nothing: who is killed asks again."""
        return 0

    def ended(self, answers: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Keep answers, but those of calls that failed; the oldest make room. Raises CacheUnusable."""
        kept = [(key, answer) for key, answer in answers if answer is not None]
        if not kept:
            return
        db = self._opened()
        try:
            with db:
                db.execute("BEGIN IMMEDIATE")
                db.executemany("INSERT OR IGNORE INTO answers (key, answer) VALUES (?, ?)", kept)
                self._make_room(db)
        except sqlite3.Error as error:
            self._warn(error)

    def close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _make_room(self, db: sqlite3.Connection) -> None:
        (held,) = db.execute("SELECT num_bytes FROM held").fetchone()
        if held <= self._max_bytes:
            return
        last = 0
        for number, length in db.execute("SELECT number, length(answer) FROM answers ORDER BY number"):
            if held <= _FULL * self._max_bytes:
                break
            held -= length + LEN_ENTRY
            last = number
        db.execute("DELETE FROM answers WHERE number <= ?", (last,))

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                with _alone(self._file.with_suffix(".lock"), self._open_s):
                    self._db = sqlite3.connect(self._file, timeout=BUSY_S, isolation_level=None)
                    self._db.execute("PRAGMA journal_mode = WAL")
                    self._db.execute("PRAGMA synchronous = NORMAL")  # a power cut may take the newest answers, no more
                    self._db.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
            except (OSError, sqlite3.Error) as error:
                self.close()
                what = f"the cache of calls {self._file} cannot be opened: {error}"
                raise CacheUnusable(what, "Check the folder and its permissions, or name another.") from error
        return self._db

    def _warn(self, error: sqlite3.Error) -> None:
        if not self._has_warned:
            self._has_warned = True
            get_log().warning("the cache of calls is passed over", file=str(self._file), why=str(error))


@contextmanager
def _alone(lock: Path, within_s: float) -> Iterator[None]:
    """Wait until nobody else opens the cache: SQLite waits for nobody to begin its log. Raises TimeoutError.

    Who ends lets go.
    """
    with lock.open("w") as held:
        if not lock_within(held.fileno(), within_s):
            raise TimeoutError(f"another process has been opening it for {within_s:g} s")
        yield
