"""What a user of `sage-benchmark replay` asks for, as a value. Knows nothing of how it is replayed."""

from dataclasses import dataclass

from benchmarks.policies_wanted import TraceName


@dataclass(frozen=True, slots=True)
class ReplayWanted:
    """One trace against one model of one server. `speed` 2 is twice as fast as the trace was; of each request's
    `lengths` are the share that is kept."""

    trace: TraceName
    url: str
    model: str
    speed: float = 1.0
    lengths: float = 1.0
    limit: int | None = None
    seed: int = 7
    key_env: str = ""
    max_silence_s: float = 120.0

    def command(self) -> str:
        """Return the command line that asks for this.

        >>> ReplayWanted(TraceName.GENERATED, "http://h:1", "m", 2.0, limit=9).command()
        'sage-benchmark replay generated --url http://h:1 --model m --speed 2 --lengths 1 --seed 7 --limit 9'
        """
        words = [f"sage-benchmark replay {self.trace} --url {self.url} --model {self.model}"]
        words += [f"--speed {self.speed:g} --lengths {self.lengths:g} --seed {self.seed}"]
        words += [] if self.limit is None else [f"--limit {self.limit}"]
        return " ".join(words)
