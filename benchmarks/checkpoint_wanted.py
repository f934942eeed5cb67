"""What a user of `sage-benchmark checkpoint` asks for, as a value. Knows nothing of how it is measured."""

from dataclasses import dataclass
from enum import StrEnum


class CheckpointRival(StrEnum):
    """Who else sums with checkpoints: Bytewax with its recovery in SQLite."""

    BYTEWAX = "bytewax"


@dataclass(frozen=True, slots=True)
class CheckpointWanted:
    """One measurement."""

    num_records: int
    num_keys: int
    every_s: float
    num_rounds: int
    num_kills: int
    num_worker_kills: int = 0
    num_node_kills: int = 0
    num_head_kills: int = 0
    rivals: tuple[CheckpointRival, ...] = ()
    num_rival_records: int | None = None

    @property
    def num_of_rivals(self) -> int:
        """How many records a rival sums: as many as ours where no other number was named."""
        return self.num_records if self.num_rival_records is None else self.num_rival_records

    def command(self) -> str:
        """Return the command line that asks for this.

        >>> CheckpointWanted(1000, 10, 0.5, 2, 3).command()
        'sage-benchmark checkpoint --records 1000 --keys 10 --every 0.5 --rounds 2 --kills 3'
        >>> CheckpointWanted(1000, 10, 0.5, 2, 0, num_node_kills=4).command().partition("--rounds ")[2]
        '2 --kills 0 --node-kills 4'
        >>> asked = CheckpointWanted(1000, 10, 0.5, 2, 0, rivals=(CheckpointRival.BYTEWAX,), num_rival_records=500)
        >>> asked.command().partition("--kills 0 ")[2]
        '--rival bytewax --rival-records 500'
        """
        beside = [f" --rival {rival}" for rival in self.rivals]
        beside += [f" --rival-records {self.num_rival_records}"] if self.num_rival_records is not None else []
        hurt = (
            ("worker", self.num_worker_kills),
            ("node", self.num_node_kills),
            ("head", self.num_head_kills),
        )
        words = (
            f"sage-benchmark checkpoint --records {self.num_records} --keys {self.num_keys} --every {self.every_s:g} "
            f"--rounds {self.num_rounds} --kills {self.num_kills}"
        )
        return "".join((words, *(f" --{what}-kills {num}" for what, num in hurt if num), *beside))
