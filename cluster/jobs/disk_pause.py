"""Since when a job waits for room on a disk, when it tries again, and until when. Pure; knows no disk."""

from sage.base.errors import DiskFull, SageError

FIRST_RETRY_S = 0.5
MAX_RETRY_S = 10.0
"""Each try that fails doubles the wait for the next one, up to this."""

CALM_S = 30.0
"""Where a run that began anew has no room again sooner than this, it counts as one wait: what it reads again may take
a while to come to where there is none."""


class DiskPause:
    """Of one job, over all of its runs, and of one thing that needs room: its checkpoints, or what its tasks write.

    `why`: what it waits for while nothing is read; None: it reads. `is_spent`: it has waited for as long as it may.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._until_s: float | None = None
        self._went_on_s: float | None = None
        self._retry_s = FIRST_RETRY_S
        self.why: DiskFull | None = None
        self.is_spent = False

    def refused(self, error: DiskFull, now_s: float) -> float | None:
        """Account for a write for which there was no room; return when to try again, None once it took too long."""
        is_calm = self._went_on_s is not None and now_s - self._went_on_s > CALM_S
        if self._until_s is None or is_calm:
            self._until_s, self._retry_s = now_s + self._patience_s, FIRST_RETRY_S
        self.why, self._went_on_s = error, None
        self.is_spent = now_s >= self._until_s
        if self.is_spent:
            return None
        retry_s, self._retry_s = self._retry_s, min(MAX_RETRY_S, 2.0 * self._retry_s)
        return min(retry_s, self._until_s - now_s)

    def went_on(self, now_s: float) -> None:
        """A run reads again; whether there is room is still to be seen."""
        if self.why is not None:
            self.why, self._went_on_s = None, now_s

    def room_came(self) -> None:
        """What had no room has it now: the wait is over, and the next one counts from its own start."""
        self.why = self._until_s = self._went_on_s = None
        self.is_spent = False

    def given_up(self, error: SageError) -> DiskFull:
        """Return what fails the job."""
        failed = DiskFull(
            f"{error.what}, and no room came within {self._patience_s:g} s",
            "Make room there and start the flow again: it goes on from its newest checkpoint. "
            "runtime.full_disk_s says how long a job waits.",
        )
        failed.__cause__ = error
        return failed
