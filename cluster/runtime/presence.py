"""Whether nodes of this machine still live: each holds a lock on one file for as long as it does. Knows no head.

The kernel gives the lock back when the process that holds it has ended, however that came about; a process that is
stopped holds it still.
"""

import fcntl
import os
from pathlib import Path

from cluster.runtime.file_lock import lock_within
from sage.base.errors import ConfigInvalid


def hold_presence(path: Path) -> int:
    """Be known as alive until this process ends; return the descriptor that holds the lock. Raises ConfigInvalid."""
    try:
        descriptor = _opened(path)
        fcntl.flock(descriptor, fcntl.LOCK_SH)  # whoever looks holds it for an instant
    except OSError as error:
        what = f"{path} cannot be locked: {error.strerror}"
        raise ConfigInvalid(what, "Name another folder: cluster.state_dir.", param="cluster.state_dir") from error
    return descriptor


def nobody_is_present(path: Path, within_s: float) -> bool:
    """Say whether every process that held the lock has ended by now, or does so within `within_s`."""
    try:
        descriptor = _opened(path)
    except OSError:
        return False
    try:
        return lock_within(descriptor, within_s)
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
