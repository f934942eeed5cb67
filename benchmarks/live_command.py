"""The command `sage-benchmark live`: what is wanted, from its options. Knows nothing of how it is measured."""

from typing import Annotated

import typer

from benchmarks.live_wanted import LiveWanted, setup_from_text
from benchmarks.policies_command import check_loads
from benchmarks.policies_wanted import Shedding, TraceName
from sage.base.clock import SystemClock

DEFAULT_SETUPS = ("hybrid+auto+adaptive", "fifo+least_work+fixed", "fifo+round_robin+fixed")

TraceArgument = Annotated[TraceName, typer.Argument(metavar="TRACE", help="What is replayed.")]
Engine = Annotated[str, typer.Option("--engine", metavar="SPEC", help="The engine: KIND:TARGET[,KEY=VALUE...].")]
Engines = Annotated[int, typer.Option("--engines", min=1, help="How many of it, each kept to a core of its own.")]
Setups = Annotated[
    list[str] | None,
    typer.Option(
        "--setup", metavar="POLICY+ROUTE+WINDOW", help="May be repeated; the first is compared with the rest."
    ),
]
Load = Annotated[
    list[float] | None,
    typer.Option("--load", min=0.01, help="1 is the rate that the engines just get through; may be repeated."),
]
Sheds = Annotated[Shedding, typer.Option("--admission", help="Whether to refuse at the door what would be late.")]
Requests = Annotated[int, typer.Option("--requests", min=4, help="Requests of a turn.")]
Warm = Annotated[int, typer.Option("--warm", min=0, help="Of them, the first, which are not counted.")]
Lengths = Annotated[
    float, typer.Option("--lengths", min=0.0001, max=1.0, help="Share of each request's tokens that is kept.")
]
Patience = Annotated[
    float, typer.Option("--patience", min=1.0, help="Times its time without load in which a token is due.")
]
Rounds = Annotated[int, typer.Option("--rounds", min=1, help="How often each set-up has its turn.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of what is drawn: conversations, words, turns.")]
Target = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write the result document.")]


def live(
    trace: TraceArgument,
    engine: Engine = "openvino:smollm2",
    engines: Engines = 2,
    setup: Setups = None,
    load: Load = None,
    admission: Sheds = Shedding.DEADLINE,
    requests: Requests = 100,
    warm: Warm = 20,
    lengths: Lengths = 0.1,
    patience: Patience = 5.0,
    rounds: Rounds = 5,
    seed: Seed = 7,
    json: Target = None,
) -> None:
    """Replay a trace against the control plane over real engines, by each policy and route in turns."""
    check_loads(load or [], "--load")
    if warm >= requests:
        raise typer.BadParameter("no request would be counted", param_hint="--warm")
    wanted = LiveWanted(
        trace=trace,
        engine=engine,
        num_engines=engines,
        setups=tuple(setup_from_text(text) for text in setup or DEFAULT_SETUPS),
        loads=tuple(load or (1.2, 2.0)),
        admission=admission,
        num_requests=requests,
        num_warm=warm,
        lengths=lengths,
        patience=patience,
        num_rounds=rounds,
        seed=seed,
    )
    _run(wanted, json)


def _run(wanted: LiveWanted, json: str | None) -> None:
    from benchmarks.deliver import deliver
    from benchmarks.document import document_of
    from benchmarks.live import measure_live

    document = document_of(
        wanted.command(),
        seed=wanted.seed,
        clock=SystemClock(),
        results=lambda: measure_live(wanted, lambda what: typer.echo(what, err=True)),
    )
    deliver(document, json)
