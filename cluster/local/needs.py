"""Which models a flow asks. Knows nothing of engines."""

from dataclasses import dataclass

from sage.base.inference import Kind
from sage.flow.graph import Graph, Step
from sage.flow.spec import Embed, Generate, Rerank


@dataclass(frozen=True, slots=True)
class Need:
    """A model that is asked, the kinds of which one will do, and who asks, in words."""

    model: str
    kinds: tuple[Kind, ...]
    who: str


def needs_of_graph(graph: Graph) -> list[Need]:
    """Return the models that the graph's steps ask."""
    needs = []
    for step in graph.steps:
        match step.spec:
            case Generate(model=model, raw=raw):
                needs.append(Need(model, (Kind.GENERATE,) if raw else (Kind.CHAT, Kind.GENERATE), _who(step)))
            case Embed(model=model):
                needs.append(Need(model, (Kind.EMBED,), _who(step)))
            case Rerank(model=model):
                needs.append(Need(model, (Kind.SCORE,), _who(step)))
            case _:
                pass
    return needs


def need_of_call(model: str, kind: Kind) -> Need:
    """Return what a call from Python asks for."""
    return Need(model, (kind,), "the call")


def _who(step: Step) -> str:
    return f"step {step.name!r} ({step.where})"
