"""What a user of `sage-benchmark cluster` asks for, as a value. Knows nothing of how it is measured."""

from dataclasses import dataclass
from enum import StrEnum


class ClusterWorkload(StrEnum):
    """What is measured on one node process and on two.

    `records`: functions of 30 us, `tasks`: of 1 and 10 ms, that compute; `waits`: coroutines that wait as long; `jobs`:
    eight jobs side by side; `trip`: one record at a time through a task and back; `control`: what a node says, and how
    long a cancelled job takes to end, while records are exchanged flat out; `idle`: a cluster that has nothing to do.
    """

    RECORDS = "records"
    TASKS = "tasks"
    WAITS = "waits"
    JOBS = "jobs"
    TRIP = "trip"
    CONTROL = "control"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class ClusterWanted:
    """One measurement of each workload. `seconds`: about how long a round on one node takes."""

    workloads: tuple[ClusterWorkload, ...]
    seconds: float
    num_rounds: int

    def command(self) -> str:
        """Return the command line that asks for this.

        >>> ClusterWanted((ClusterWorkload.TRIP,), 1.5, 3).command()
        'sage-benchmark cluster --workload trip --seconds 1.5 --rounds 3'
        """
        words = ["sage-benchmark cluster", *(f"--workload {workload}" for workload in self.workloads)]
        return " ".join([*words, f"--seconds {self.seconds:g} --rounds {self.num_rounds}"])
