"""The lock of a file is waited for, and not for ever."""

import fcntl
import os
import threading
from pathlib import Path

from cluster.runtime.file_lock import lock_within

DEADLINE_S = 10.0


def opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def test_a_lock_is_had_when_it_is_free_and_not_while_another_holds_it(tmp_path: Path) -> None:
    one, other = opened(tmp_path / "f"), opened(tmp_path / "f")
    assert lock_within(one, 0.0)
    assert not lock_within(other, 0.0)
    fcntl.flock(one, fcntl.LOCK_UN)
    assert lock_within(other, 0.0)
    os.close(one)
    os.close(other)


def test_who_waits_has_the_lock_once_the_other_lets_go(tmp_path: Path) -> None:
    one, other = opened(tmp_path / "f"), opened(tmp_path / "f")
    assert lock_within(one, 0.0)
    had: list[bool] = []
    waiting = threading.Thread(target=lambda: had.append(lock_within(other, DEADLINE_S)))
    waiting.start()
    os.close(one)
    waiting.join(DEADLINE_S)
    assert had == [True]
    os.close(other)
