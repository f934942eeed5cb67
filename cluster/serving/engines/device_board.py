"""What engine hosts on one device tell each other, in shared memory. Decides nothing.

A page with a place for each host that the same process started. A host writes its own place only; the others read it.
Numbers are doubles, each written and read as a whole. The page has no name: it is gone with the last that has it open,
however they end.
"""

import fcntl
import mmap
import os
import threading
import weakref
from pathlib import Path

from cluster.runtime.file_lock import lock_within
from cluster.serving.sharing import ChatNow, SharingMode

_NUM_PLACES = 32
_NUM_FIELDS = 10
_LEN_BYTES = 8 * _NUM_PLACES * _NUM_FIELDS
_JOIN_S = 5.0  # joining takes microseconds: whoever takes longer was stopped amid it
_STALE_S = 5.0  # a host that has written nothing for so long was killed, or hangs: nobody gives way to it
_MODES = tuple(SharingMode)
_CHAT, _EMBED = 1.0, 2.0
_PID, _ROLE, _WRITTEN = 0, 1, 2
_RUNNING, _LACKING, _BUSY, _STEP, _CHUNK, _TURN = 3, 4, 5, 6, 7, 8  # of a chat engine
_MODE, _TARGET, _WANTS, _IN_WORK = 3, 4, 5, 6  # of an embedding engine


class DeviceBoard:
    """One host's place on the board, and its sight of the others."""

    def __init__(self, path: Path) -> None:
        """Join the board at `path`; raises OSError where there is none, or no place on it."""
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if not lock_within(self._fd, _JOIN_S):
                raise OSError(f"the board of this device has been locked for {_JOIN_S:g} s")
            os.ftruncate(self._fd, _LEN_BYTES)
            self._memory = mmap.mmap(self._fd, _LEN_BYTES)
            self._cells = memoryview(self._memory).cast("d")
            self._at = self._free_place()
            self._cells[self._at + _PID] = float(os.getpid())
        except BaseException:
            os.close(self._fd)
            raise
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _free_place(self) -> int:
        for at in range(0, _NUM_PLACES * _NUM_FIELDS, _NUM_FIELDS):
            if not _is_alive(int(self._cells[at + _PID])):
                for field in range(_NUM_FIELDS):
                    self._cells[at + field] = 0.0
                return at
        raise OSError(f"{_NUM_PLACES} engine hosts share this device already")

    def show_chat(self, chat: ChatNow, now_s: float) -> None:
        """Tell the others how chat is here."""
        cells, at = self._cells, self._at
        cells[at + _RUNNING], cells[at + _LACKING] = float(chat.num_running), float(chat.num_lacking)
        cells[at + _BUSY], cells[at + _STEP], cells[at + _CHUNK] = chat.busy, chat.step_s, chat.chunk_s
        cells[at + _TURN], cells[at + _WRITTEN], cells[at + _ROLE] = chat.turn_until_s, now_s, _CHAT

    def show_embedding(
        self, mode: SharingMode, target_s: float | None, now_s: float, *, wants: bool, num_in_work: int
    ) -> None:
        """Tell the others how embeddings want to share, whether texts wait, and how many micro-batches are in work."""
        cells, at = self._cells, self._at
        cells[at + _MODE], cells[at + _TARGET] = float(_MODES.index(mode)), target_s or 0.0
        cells[at + _WANTS], cells[at + _IN_WORK] = float(wants), float(num_in_work)
        cells[at + _WRITTEN], cells[at + _ROLE] = now_s, _EMBED

    def chat_now(self, now_s: float) -> ChatNow:
        """Return how chat is on this device: of several engines, all of them as if they were one."""
        cells, running, lacking, turn_until_s = self._cells, 0, 0, 0.0
        busy = step_s = chunk_s = 0.0
        for at in self._others(_CHAT, now_s):
            if cells[at + _RUNNING]:
                running += int(cells[at + _RUNNING])
                lacking += int(cells[at + _LACKING])
                busy, step_s = max(busy, cells[at + _BUSY]), max(step_s, cells[at + _STEP])
                chunk_s, turn_until_s = max(chunk_s, cells[at + _CHUNK]), max(turn_until_s, cells[at + _TURN])
        return ChatNow(running, lacking, busy, step_s, chunk_s, turn_until_s)

    def embedding_mode(self, now_s: float) -> tuple[SharingMode, float | None]:
        """Return how embeddings on this device share it, and chat's target with them; OFF where none has work."""
        for at in self._others(_EMBED, now_s):
            mode = _MODES[int(self._cells[at + _MODE])]
            has_work = self._cells[at + _WANTS] or self._cells[at + _IN_WORK]
            if has_work and mode in (SharingMode.ALTERNATING, SharingMode.PINNED):
                return mode, self._cells[at + _TARGET] or None
        return SharingMode.OFF, None

    def texts_wait(self, now_s: float) -> bool:
        """Say whether an embedding engine here has texts that wait for their turn."""
        return any(self._cells[at + _WANTS] for at in self._others(_EMBED, now_s))

    def num_in_work(self, now_s: float) -> int:
        """Return how many micro-batches embedding engines here are working on."""
        return sum(int(self._cells[at + _IN_WORK]) for at in self._others(_EMBED, now_s))

    def _others(self, role: float, now_s: float) -> list[int]:
        """Return the places of the other hosts of this role that have written lately."""
        cells = self._cells
        places = range(0, _NUM_PLACES * _NUM_FIELDS, _NUM_FIELDS)
        of_role = (at for at in places if cells[at + _ROLE] == role and cells[at + _PID] and at != self._at)
        return [at for at in of_role if now_s - cells[at + _WRITTEN] < _STALE_S]

    def close(self) -> None:
        """Leave it to the others."""
        self._cells[self._at + _ROLE] = self._cells[self._at + _PID] = 0.0
        self._cells.release()
        self._memory.close()
        os.close(self._fd)


class BoardPage:
    """The page for all engine hosts that this process starts, by its descriptor; closed when nobody holds it."""

    def __init__(self) -> None:
        """Make one; raises OSError or AttributeError where there are no such pages."""
        self.fd = os.memfd_create("sage-device")
        weakref.finalize(self, os.close, self.fd)


_pages: "weakref.WeakSet[BoardPage]" = weakref.WeakSet()
_making = threading.Lock()


def page_for_hosts() -> BoardPage | None:
    """Return the page that others here hold, or a new one; None where there are no such: not Linux, or not allowed."""
    with _making:
        for page in _pages:
            return page
        try:
            page = BoardPage()
        except (AttributeError, OSError):
            return None
        _pages.add(page)
        return page


def board_on(page: int | None) -> DeviceBoard | None:
    """Join the board on a page that was inherited; None where there is none, or it is full."""
    if page is None:
        return None
    try:
        return DeviceBoard(Path(f"/proc/self/fd/{page}"))  # opened anew: locks are held by those who opened
    except OSError:
        return None


def _is_alive(pid: int) -> bool:
    if not pid:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
