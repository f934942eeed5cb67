"""What a user of `sage-benchmark cosched` asks for, as a value. Knows nothing of how it is measured."""

from dataclasses import dataclass
from enum import StrEnum


class OurMode(StrEnum):
    """How embeddings give way to chat; `auto` chooses by load and target."""

    AUTO = "auto"
    GATED = "gated"
    ALTERNATING = "alternating"
    PINNED = "pinned"


@dataclass(frozen=True, slots=True)
class CoschedWanted:
    """Chat at each of `loads` (shares of what it can do at most) beside embeddings; `seconds` a repeat and set-up.

    `num_targets_repeats`: of the second table, both with latency targets; 0: none.
    """

    loads: tuple[float, ...]
    modes: tuple[OurMode, ...]
    num_repeats: int
    num_targets_repeats: int
    seconds: float
    seed: int

    def command(self) -> str:
        """Return the command line that asks for this.

        >>> CoschedWanted((0.25, 0.5), (OurMode.GATED,), 10, 5, 1.5, 7).command()
        'sage-benchmark cosched --load 0.25 --load 0.5 --mode gated --repeats 10 --targets 5 --seconds 1.5 --seed 7'
        """
        words = ["sage-benchmark cosched", *(f"--load {load:g}" for load in self.loads)]
        words += [f"--mode {mode}" for mode in self.modes]
        words += [f"--repeats {self.num_repeats} --targets {self.num_targets_repeats}"]
        return " ".join([*words, f"--seconds {self.seconds:g} --seed {self.seed}"])
