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


class WireRival(StrEnum):
    """Who else brings batches from one process to another: a queue of Python's, bare sockets of ZeroMQ with msgspec, an
    actor of Ray's with a call a batch."""

    MULTIPROCESSING = "multiprocessing"
    ZMQ = "zmq"
    RAY = "ray"


@dataclass(frozen=True, slots=True)
class WireWanted:
    """One measurement of each workload on each way, and by each rival."""

    workloads: tuple[WireWorkload, ...]
    ways: tuple[Way, ...]
    num_records: int
    batch_records: int
    num_rounds: int
    rivals: tuple[WireRival, ...] = ()

    def command(self) -> str:
        """Return the command line that asks for this.

        >>> WireWanted((WireWorkload.TEXT,), (Way.IPC,), 1000, 100, 3).command()
        'sage-benchmark wire --workload text --way ipc --records 1000 --batch 100 --rounds 3'
        >>> WireWanted((), (), 9, 9, 1, (WireRival.ZMQ,)).command()
        'sage-benchmark wire --rival zmq --records 9 --batch 9 --rounds 1'
        """
        words = ["sage-benchmark wire"]
        words += [f"--workload {workload}" for workload in self.workloads]
        words += [f"--way {way}" for way in self.ways]
        words += [f"--rival {rival}" for rival in self.rivals]
        words += [f"--records {self.num_records} --batch {self.batch_records} --rounds {self.num_rounds}"]
        return " ".join(words)
