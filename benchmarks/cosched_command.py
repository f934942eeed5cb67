"""The command `sage-benchmark cosched`: what is wanted, from its options. Knows nothing of how it is measured."""

from typing import Annotated

import typer

from benchmarks.cosched_wanted import CoschedWanted, OurMode
from sage.base.clock import SystemClock

Loads = Annotated[
    list[float] | None,
    typer.Option("--load", min=0.01, max=1.0, help="Share of what chat can do; may be repeated; by default .25 .5 .7."),
]
Modes = Annotated[
    list[OurMode] | None, typer.Option("--mode", help="Of ours, may be repeated; by default gated and alternating.")
]
Repeats = Annotated[int, typer.Option("--repeats", min=1, help="How often each set-up has its turn.")]
Targets = Annotated[
    int, typer.Option("--targets", min=0, help="Repeats of the second table, both with latency targets; 0: none.")
]
Seconds = Annotated[float, typer.Option("--seconds", min=0.2, help="How long each turn is measured.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of arrivals and lengths.")]
Target = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write the result document.")]


def cosched(
    load: Loads = None,
    mode: Modes = None,
    repeats: Repeats = 10,
    targets: Targets = 10,
    seconds: Seconds = 1.8,
    seed: Seed = 7,
    json: Target = None,
) -> None:
    """Measure chat and embeddings on one device, sharing it, against the best of four separate set-ups."""
    from benchmarks.cosched import measure_cosched
    from benchmarks.deliver import deliver
    from benchmarks.document import document_of

    wanted = CoschedWanted(
        loads=tuple(load or (0.25, 0.5, 0.7)),
        modes=tuple(mode or (OurMode.GATED, OurMode.ALTERNATING)),
        num_repeats=repeats,
        num_targets_repeats=targets,
        seconds=seconds,
        seed=seed,
    )
    document = document_of(
        wanted.command(),
        seed=seed,
        clock=SystemClock(),
        results=lambda: measure_cosched(wanted, lambda what: typer.echo(what, err=True)),
    )
    deliver(document, json)
