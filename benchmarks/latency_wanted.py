"""What a user of `sage-benchmark latency` asks for, as a value. Knows nothing of how it is measured."""

from dataclasses import dataclass
from enum import StrEnum


class LatencyRival(StrEnum):
    """Who else takes one record at a time: Bytewax within a process; bare sockets of ZeroMQ, and a pipe of Python's,
    across two."""

    BYTEWAX = "bytewax"
    ZMQ = "zmq"
    MULTIPROCESSING = "multiprocessing"


@dataclass(frozen=True, slots=True)
class LatencyWanted:
    """`num_records` in each place, in each round."""

    num_records: int
    records_per_s: float
    num_rounds: int = 1
    rivals: tuple[LatencyRival, ...] = ()

    def command(self) -> str:
        """Return the command line that asks for this.

        >>> LatencyWanted(100, 1000.0).command()
        'sage-benchmark latency --records 100 --rate 1000 --rounds 1'
        >>> LatencyWanted(100, 1000.0, 3, (LatencyRival.ZMQ,)).command()
        'sage-benchmark latency --rival zmq --records 100 --rate 1000 --rounds 3'
        """
        rivals = "".join(f" --rival {rival}" for rival in self.rivals)
        return (
            f"sage-benchmark latency{rivals} --records {self.num_records} --rate {self.records_per_s:g} "
            f"--rounds {self.num_rounds}"
        )
