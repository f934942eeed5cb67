"""What a user of `sage-benchmark cluster` asks for, as a value. Knows nothing of how it is measured."""

from dataclasses import dataclass
from enum import StrEnum


class ClusterWorkload(StrEnum):
    """What is measured on one node process and on two.

    `records`: functions of 30 us, `tasks`: of 1 and 10 ms, that compute; `waits`: coroutines that wait as long; `jobs`:
    eight jobs side by side; `trip`: one record at a time through a task and back; `control`: what a node says, and how
    long a cancelled job takes to end, while records are exchanged flat out; `idle`: a cluster that has nothing to do;
    `overload`: what is held while a stream ends slower than its source reads.
    """

    RECORDS = "records"
    TASKS = "tasks"
    WAITS = "waits"
    JOBS = "jobs"
    TRIP = "trip"
    CONTROL = "control"
    IDLE = "idle"
    OVERLOAD = "overload"


@dataclass(frozen=True, slots=True)
class ClusterWanted:
    """One measurement of each workload. `seconds`: about how long a round on one node takes.
    `overload_s`: how long an overload is watched."""

    workloads: tuple[ClusterWorkload, ...]
    seconds: float
    num_rounds: int
    overload_s: float

    def command(self) -> str:
        """Return the command line that asks for this.

        >>> ClusterWanted((ClusterWorkload.TRIP,), 1.5, 3, 60.0).command()
        'sage-benchmark cluster --workload trip --seconds 1.5 --rounds 3'
        >>> ClusterWanted((ClusterWorkload.OVERLOAD,), 1.0, 5, 600.0).command()
        'sage-benchmark cluster --workload overload --seconds 1 --rounds 5 --overload-s 600'
        """
        words = ["sage-benchmark cluster", *(f"--workload {workload}" for workload in self.workloads)]
        words.append(f"--seconds {self.seconds:g} --rounds {self.num_rounds}")
        if ClusterWorkload.OVERLOAD in self.workloads:
            words.append(f"--overload-s {self.overload_s:g}")
        return " ".join(words)
