"""What a user of `sage-benchmark wire` asks for, as a value. Knows nothing of how it is measured."""

from dataclasses import dataclass
from enum import StrEnum


class Way(StrEnum):
    """How the two processes reach each other."""

    IPC = "ipc"
    CURVE = "tcp+curve"


class WireWorkload(StrEnum):
    """What a record is: a dict of five fields, the same as Struct or tuple, a text, or a dict with a list in it."""

    EVENT = "event"
    STRUCT = "struct"
    ROW = "row"
    TEXT = "text"
    NESTED = "nested"


@dataclass(frozen=True, slots=True)
class WireWanted:
    """One measurement of each workload on each way."""

    workloads: tuple[WireWorkload, ...]
    ways: tuple[Way, ...]
    num_records: int
    batch_records: int
    num_rounds: int

    def command(self) -> str:
        """Return the command line that asks for this.

        >>> WireWanted((WireWorkload.TEXT,), (Way.IPC,), 1000, 100, 3).command()
        'sage-benchmark wire --workload text --way ipc --records 1000 --batch 100 --rounds 3'
        """
        words = ["sage-benchmark wire"]
        words += [f"--workload {workload}" for workload in self.workloads]
        words += [f"--way {way}" for way in self.ways]
        words += [f"--records {self.num_records} --batch {self.batch_records} --rounds {self.num_rounds}"]
        return " ".join(words)
