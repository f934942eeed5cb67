"""Who may write to a folder of checkpoints: one process at a time. Knows nothing of what is written."""

import fcntl
import os
from pathlib import Path

from sage.base.errors import CheckpointUnusable

NAME = "lock"


class FolderLock:
    """Held from its making until `release`, or until the process ends, however it ends."""

    def __init__(self, folder: str) -> None:
        """Raises CheckpointUnusable where another process holds it, or the folder cannot be made."""
        try:
            Path(folder).mkdir(parents=True, exist_ok=True, mode=0o700)
            number = os.open(Path(folder) / NAME, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise CheckpointUnusable(
                f"{folder} cannot be used: {error.strerror}", "Name a folder that you can write."
            ) from error
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(number)
            raise CheckpointUnusable(
                f"{folder} is in use by another run of this flow", "Wait for it to end, or name another folder."
            ) from error
        self._number: int | None = number

    def release(self) -> None:
        number, self._number = self._number, None
        if number is not None:
            os.close(number)
