"""Say what is installed, what can start and what to do about what is missing. Knows nothing of how facts are found."""

import msgspec
import typer

from cluster.commands.machine_facts import Facts, gather
from cluster.commands.show import Json, megabytes, print_json, print_table
from cluster.serving.model_store import FileState, open_store
from sage.base.config import load_settings

_LEAST_FREE_BYTES = (
    1_500_000_000  # both embedded engines at work: 0.6 GB of chat, 0.3 GB of embeddings, the rest for us
)


class Advice(msgspec.Struct, frozen=True):
    """Something that is missing and what to do about it; `needed`: without it the main job does not run."""

    what: str
    do: str
    needed: bool


def doctor(json: Json = False) -> None:
    """Say what is installed, which engines can start, and what to do about what is missing.

    Exit status 1 where something is missing that `sage demo` needs.
    """
    facts = gather(open_store(load_settings().models))
    advice = advise(facts)
    if json:
        print_json({"facts": facts, "advice": advice})
    else:
        _show(facts, advice)
    if any(a.needed for a in advice):
        raise typer.Exit(1)


def advise(facts: Facts) -> tuple[Advice, ...]:
    """Return what to do, most important first. Pure."""
    found: list[Advice] = []
    if facts.shadowed is not None:
        found.append(Advice(facts.shadowed, "Install sage-engine in a virtual environment of its own.", needed=True))
    for engine in facts.engines:
        if engine.missing:
            what = f"engine {engine.kind} cannot start: {', '.join(engine.missing)} not installed"
            found.append(Advice(what, "pip install 'sage-engine[engines]'", needed=True))
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
        what = "GPUs were not looked for: NVML's bindings are not installed"
        found.append(Advice(what, "Where there is an NVIDIA GPU: pip install nvidia-ml-py", needed=False))
    return tuple(found)


def _show(facts: Facts, advice: tuple[Advice, ...]) -> None:
    print(f"{facts.python}\n{facts.platform}\n")
    print_table(
        [("PACKAGE", "VERSION"), *((name, number or "not installed") for name, number in facts.packages.items())]
    )
    gpus = "not looked for" if facts.gpus is None else ", ".join(gpu.name for gpu in facts.gpus) or "none"
    memory = f"{megabytes(facts.memory_bytes)}, {megabytes(facts.free_memory_bytes)} free"
    print(f"\nCPUs    {facts.num_cpus}\nmemory  {memory}\nGPUs    {gpus}\n")
    engines = [(e.kind, f"needs {', '.join(e.missing)}" if e.missing else "can start") for e in facts.engines]
    print_table([("ENGINE", "STATE"), *engines])
    print()
    print_table([("MODEL", "STATE", "SIZE"), *((m.name, m.state, megabytes(m.len_bytes)) for m in facts.models)])
    print(f"(in {facts.cache_dir})\n")
    for item in advice:
        print(f"{'!' if item.needed else '-'} {item.what}\n    {item.do}")
    if not any(item.needed for item in advice):
        print("Everything that sage demo needs is here.")
