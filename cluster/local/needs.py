"""Which models a flow asks. Knows nothing of engines."""

from dataclasses import dataclass

from sage.base.inference import Kind
from sage.flow.graph import Graph, Step
from sage.flow.spec import Embed, Generate


@dataclass(frozen=True, slots=True)
class Need:
    """A model that a step asks, and the kinds of which one will do."""

    model: str
    kinds: tuple[Kind, ...]
    step: Step


def needs_of_graph(graph: Graph) -> list[Need]:
    """Return the models that the graph's steps ask."""
    needs = []
    for step in graph.steps:
        match step.spec:
            case Generate(model=model, raw=raw):
                needs.append(Need(model, (Kind.GENERATE,) if raw else (Kind.CHAT, Kind.GENERATE), step))
            case Embed(model=model):
                needs.append(Need(model, (Kind.EMBED,), step))
            case _:
                pass
    return needs
