"""Say what is installed, which engines can start, and what to do about what is missing. Decides nothing itself."""

from typing import TYPE_CHECKING

import typer

from cluster.commands.show import Json, print_json, print_table
from sage.base.amounts import megabytes

if TYPE_CHECKING:
    from cluster.commands.advice import Advice
    from cluster.commands.machine_facts import Facts
    from sage.base.offer import Gpu


def doctor(json: Json = False) -> None:
    """Say what is installed, which engines can start, and what to do about what is missing.

    Exit status 1 where something is missing that `sage demo` needs.
    """
    from cluster.commands.advice import advise
    from cluster.commands.machine_facts import gather
    from cluster.serving.environment_store import open_environments
    from cluster.serving.model_store import open_store
    from sage.base.config import load_settings

    settings = load_settings()
    facts = gather(open_store(settings.models), open_environments(settings.environments))
    advice = advise(facts)
    if json:
        print_json({"facts": facts, "advice": advice})
    else:
        _show(facts, advice)
    if any(a.needed for a in advice):
        raise typer.Exit(1)


def _show(facts: "Facts", advice: "tuple[Advice, ...]") -> None:
    print(f"{facts.python}\n{facts.platform}\n")
    print_table(
        [("PACKAGE", "VERSION"), *((name, number or "not installed") for name, number in facts.packages.items())]
    )
    gpus = "not looked for" if facts.gpus is None else ", ".join(map(_gpu, facts.gpus)) or "none"
    memory = f"{megabytes(facts.memory_bytes)}, {megabytes(facts.free_memory_bytes)} free"
    print(f"\nCPUs    {facts.num_cpus:g}\nmemory  {memory}\nGPUs    {gpus}\n")
    print_table([("ENGINE", "STATE"), *((engine.kind, engine.state()) for engine in facts.engines)])
    print()
    print_table([("MODEL", "STATE", "SIZE"), *((m.name, m.state, megabytes(m.len_bytes)) for m in facts.models)])
    print(f"(in {facts.cache_dir})\n")
    for item in advice:
        print(f"{'!' if item.needed else '-'} {item.what}\n    {item.do}")
    if not any(item.needed for item in advice):
        print("Everything that sage demo needs is here.")


def _gpu(gpu: "Gpu") -> str:
    fault = f" OUT OF USE: {gpu.fault}" if gpu.fault else ""
    held = f", of which others hold {megabytes(gpu.held_bytes)}" if gpu.held_bytes else ""
    return f"{gpu.index}: {gpu.type}, {megabytes(gpu.memory_bytes)}{held}{fault}"
