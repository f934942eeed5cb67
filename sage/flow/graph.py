"""Steps and what feeds them, as a passive value. Knows nothing of where steps run."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sage.base.demand import Demand
from sage.base.inference import Kind
from sage.flow.spec import HOLDS_KEYS, Embed, Generate, Rerank, Spec
from sage.flow.state_form_value import StateForm


class OnError(StrEnum):
    """What happens when a step raises on a record."""

    FAIL = "fail"
    RETRY = "retry"
    DEAD_LETTER = "dead_letter"


class TurnRole(StrEnum):
    """What a step does about the chat requests whose records reach it (`sage.flow.turns` decides it)."""

    ON_WAY = "on_way"  # its records are shares of requests, and lead to a reply
    SPEAKS = "speaks"  # likewise, and what its model says is the reply, piece by piece
    LEAVES = "leaves"  # its input are shares of requests, its output are not: it leads to no reply


class DueRole(StrEnum):
    """What a step does about when the records that reach it are due (`sage.flow.dues` decides it)."""

    ON_WAY = "on_way"  # its records are due, and lead to a model
    LEAVES = "leaves"  # its input is due, its output is not: it leads to no model


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

    `parallelism` is the number of instances, each of which asks for `demand`. `retries`: how often a record is tried
    again under RETRY before the job fails, and under DEAD_LETTER before the record becomes a dead letter. `turns`: None
    where no chat request comes by; `num_ways`: by how many ways they go on from here to a reply. `dues`: None where no
    record is due at any time. `inside`: the name of the `iterate` in whose body it is. `form`: that of its state, where
    `spec` only stands for what is elsewhere.
    """

    name: str
    spec: Spec
    inputs: tuple[str, ...]
    where: Where
    parallelism: int = 1
    demand: Demand = Demand()
    on_error: OnError = OnError.FAIL
    retries: int = 0
    turns: TurnRole | None = None
    num_ways: int = 1
    dues: DueRole | None = None
    inside: str | None = None
    form: StateForm | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """A whole flow: steps in topological order, checked (`sage.flow.check.graph_from_steps` is the way to make one)."""

    name: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A model that a step asks for, and for what."""

    model: str
    kind: Kind
    step: Step


def models_of(graph: Graph) -> tuple[ModelUse, ...]:
    """Return what the steps of `graph` ask of models, in the order of the steps.

    A `generate` that is not raw asks for chat; a runner may serve it by a model that only generates, if it has no
    system prompt.
    """
    return tuple(use for step in graph.steps if (use := _model_use(step)) is not None)


def states_of(graph: Graph) -> tuple[str, ...]:
    """Return the steps that keep a state for each key that can be asked for: aggregates, windows, joins, processes."""
    return tuple(step.name for step in graph.steps if isinstance(step.spec, HOLDS_KEYS))


def consumers_of(steps: tuple[Step, ...]) -> Mapping[str, tuple[Step, ...]]:
    """Return, for the name of each step, the steps that read from it (a step that reads twice stands once)."""
    found: dict[str, list[Step]] = {step.name: [] for step in steps}
    for step in steps:
        for name in dict.fromkeys(step.inputs):
            found[name].append(step)
    return {name: tuple(readers) for name, readers in found.items()}


def _model_use(step: Step) -> ModelUse | None:
    match step.spec:
        case Generate(model=model, raw=raw):
            return ModelUse(model, Kind.GENERATE if raw else Kind.CHAT, step)
        case Embed(model=model):
            return ModelUse(model, Kind.EMBED, step)
        case Rerank(model=model):
            return ModelUse(model, Kind.SCORE, step)
        case _:
            return None
