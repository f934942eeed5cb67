"""Since when a job waits for room on a disk, when it tries again, and until when. Pure; knows no disk."""

from sage.base.errors import DiskFull, SageError

FIRST_RETRY_S = 0.5
MAX_RETRY_S = 10.0
"""Each try that fails doubles the wait for the next one, up to this."""

CALM_S = 30.0
"""Where room is missing again sooner than this after it was last, it counts as one wait: a checkpoint may have had room
where the file of a sink has none, on another disk."""


class DiskPause:
    """Of one job, over all of its runs. `why`: what it waits for; None: it does not wait."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._until_s = 0.0
        self._refused_s: float | None = None
        self._retry_s = FIRST_RETRY_S
        self.why: DiskFull | None = None

    def refused(self, error: DiskFull, now_s: float) -> float | None:
        """Account for a write for which there was no room; return when to try again, None once it took too long."""
        is_calm = self._refused_s is None or now_s - self._refused_s > CALM_S
        if self.why is None and is_calm:
            self._until_s, self._retry_s = now_s + self._patience_s, FIRST_RETRY_S
        self.why, self._refused_s = error, now_s
        if now_s >= self._until_s:
            return None
        retry_s, self._retry_s = self._retry_s, min(MAX_RETRY_S, 2.0 * self._retry_s)
        return min(retry_s, self._until_s - now_s)

    def room_came(self) -> None:
        self.why = None

    def given_up(self, error: SageError) -> DiskFull:
        """Return what fails the job."""
        failed = DiskFull(
            f"{error.what}, and no room came within {self._patience_s:g} s",
            "Make room there and start the flow again: it goes on from its newest checkpoint. "
            "runtime.full_disk_s says how long a job waits.",
        )
        failed.__cause__ = error
        return failed
