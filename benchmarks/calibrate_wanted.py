"""What a user of `sage-benchmark calibrate` asks for, as a value. Knows nothing of how it is measured."""

from dataclasses import dataclass

from benchmarks.replay_wanted import ReplayWanted

DEFAULT_LOAD = 0.6


@dataclass(frozen=True, slots=True)
class CalibrateWanted:
    """The replay by which a fitted engine is judged, and how it is fitted: with up to `max_sequences` at once, prompts
    up to `max_prompt_tokens`; `num_rounds` parts of the trace, a probe before and after each. `chunk_tokens`: of
    prompts and answers, in an iteration. `load`: of what the fitted engine can do; None: as fast as the replay says."""

    replay: ReplayWanted
    load: float | None = DEFAULT_LOAD
    max_sequences: int = 32
    max_prompt_tokens: int = 1024
    num_rounds: int = 5
    chunk_tokens: int = 256

    def command(self) -> str:
        """Return the command line that asks for this.

        >>> from benchmarks.policies_wanted import TraceName
        >>> CalibrateWanted(ReplayWanted(TraceName.GENERATED, "http://h:1", "m"), 0.5, 8).command()
        ... # doctest: +ELLIPSIS
        'sage-benchmark calibrate generated --url http://h:1 ... --load 0.5 ... 8 --max-prompt 1024 --rounds 5 ...'
        """
        asked = self.replay.command().replace("sage-benchmark replay", "sage-benchmark calibrate", 1)
        if self.load is not None:
            asked = asked.replace(f"--speed {self.replay.speed:g}", f"--load {self.load:g}", 1)
        sizes = f"--max-sequences {self.max_sequences} --max-prompt {self.max_prompt_tokens}"
        return f"{asked} {sizes} --rounds {self.num_rounds} --chunk {self.chunk_tokens}"
