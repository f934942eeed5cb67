"""Jobs that wait for room on nodes that are yet to come: from when on, and until when. Pure; places nothing."""

from dataclasses import dataclass

from sage.base.ids import JobId

RETRY_S = 1.0  # a disk that was full may have room again


@dataclass(slots=True)
class _Wait:
    from_s: float
    until_s: float


class WaitingJobs:
    """In the order in which they began to wait."""

    def __init__(self, patience_s: float) -> None:
        """`patience_s`: how long a job waits for room."""
        self.patience_s = patience_s
        self._waits: dict[JobId, _Wait] = {}

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._waits

    def add(self, job_id: JobId, now_s: float, after_s: float = 0.0) -> None:
        """Let a job wait: it may be placed once `after_s` have passed."""
        self._waits[job_id] = _Wait(now_s + after_s, now_s + after_s + self.patience_s)

    def put_off(self, job_id: JobId, now_s: float) -> None:
        """Let a job that waits be tried again in RETRY_S, or when its time is over if that is before."""
        wait = self._waits[job_id]
        wait.from_s = min(now_s + RETRY_S, wait.until_s)

    def remove(self, job_id: JobId) -> None:
        self._waits.pop(job_id, None)

    def ready(self, now_s: float) -> list[JobId]:
        """Return those that may be placed now, if there is room."""
        return [job_id for job_id, wait in self._waits.items() if wait.from_s <= now_s]

    def is_late(self, job_id: JobId, now_s: float) -> bool:
        """Say whether a job has waited for long enough."""
        return now_s >= self._waits[job_id].until_s

    def next_s(self, now_s: float) -> float | None:
        """Return when a job is to be tried again even if no node comes; None where none waits."""
        dues = [wait.from_s if wait.from_s > now_s else wait.until_s for wait in self._waits.values()]
        return min(dues, default=None)
