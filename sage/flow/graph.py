"""Steps and what feeds them, as a passive value. Knows nothing of where steps run."""

from dataclasses import dataclass
from enum import StrEnum

from sage.base.resources import Resources
from sage.flow.spec import Spec


class OnError(StrEnum):
    """What happens when a step raises on a record."""

    FAIL = "fail"
    RETRY = "retry"
    DEAD_LETTER = "dead_letter"


@dataclass(frozen=True, slots=True)
class Where:
    """The user's line that made a step."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `inputs` are names of steps, in order; `name` is unique in its graph.

    `parallelism` is the number of instances. `retries`: how often a record is tried again under RETRY before the job
    fails, and under DEAD_LETTER before the record becomes a dead letter.
    """

    name: str
    spec: Spec
    inputs: tuple[str, ...]
    where: Where
    parallelism: int = 1
    resources: Resources = Resources()
    on_error: OnError = OnError.FAIL
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Graph:
    """A whole flow: steps in topological order, checked (`graph_from_steps` is the way to make one)."""

    name: str
    steps: tuple[Step, ...]
