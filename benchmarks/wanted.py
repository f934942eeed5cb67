"""What a user of `sage-benchmark stream` asks for, as a value. Knows nothing of how it is measured."""

import shlex
from dataclasses import dataclass
from enum import StrEnum


class StreamEngine(StrEnum):
    """What computes W1 to W5: a flow on the embedded runtime, the plain loop, or a rival in a process of its own."""

    SAGE = "sage"
    PYTHON = "python"
    BYTEWAX = "bytewax"
    PATHWAY = "pathway"
    RAY = "ray"


OURS = (StreamEngine.SAGE, StreamEngine.PYTHON)
BATCHED = (StreamEngine.SAGE, StreamEngine.BYTEWAX)
"""Those whose records travel by as many at a time as they are told."""


class StreamWorkload(StrEnum):
    """W1 to W4 are timed against the plain loop (W4 and nexmark are one), W5 against the ideal; embed and generate
    against the engine alone, windows against each other. W1-numpy is W1 over arrays, against NumPy; W1-hop is W1 across
    a thread; start is a new process."""

    W1 = "W1"
    W2 = "W2"
    W3 = "W3"
    W4 = "W4"
    W5 = "W5"
    EMBED = "embed"
    GENERATE = "generate"
    WINDOWS = "windows"
    NEXMARK = "nexmark"
    W1_NUMPY = "W1-numpy"
    W1_HOP = "W1-hop"
    START = "start"


MODEL_WORKLOADS = frozenset((StreamWorkload.EMBED, StreamWorkload.GENERATE, StreamWorkload.WINDOWS))


@dataclass(frozen=True, slots=True)
class Wanted:
    """One measurement. None stands for the workload's own number of records, or for the settings' batch; no engine
    for both. `model_engine`: what workloads of a model run on, as KIND:TARGET[,KEY=VALUE...]; none: as configured."""

    workloads: tuple[StreamWorkload, ...]
    engines: tuple[StreamEngine, ...]
    num_records: int | None
    batch_records: int | None
    num_rounds: int
    seed: int
    model_engine: str = ""

    @property
    def own_engines(self) -> tuple[StreamEngine, ...]:
        """Those of the wanted engines that are no rivals; both where none was named."""
        return tuple(engine for engine in self.engines if engine in OURS) if self.engines else OURS

    @property
    def rivals(self) -> tuple[str, ...]:
        """The wanted rivals, each once."""
        return tuple(dict.fromkeys(engine.value for engine in self.engines if engine not in OURS))

    def command(self) -> str:
        """Return the command line that asks for this.

        >>> Wanted((StreamWorkload.W1,), (StreamEngine.SAGE,), None, 256, 7, 1).command()
        'sage-benchmark stream --workload W1 --engine sage --batch 256 --rounds 7 --seed 1'
        """
        words = ["sage-benchmark stream"]
        words += [f"--workload {workload}" for workload in self.workloads]
        words += [f"--engine {engine}" for engine in self.engines]
        words += [f"--records {self.num_records}"] if self.num_records is not None else []
        words += [f"--batch {self.batch_records}"] if self.batch_records is not None else []
        words += [f"--model-engine {shlex.quote(self.model_engine)}"] if self.model_engine else []
        return " ".join([*words, f"--rounds {self.num_rounds}", f"--seed {self.seed}"])
