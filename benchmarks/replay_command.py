"""The command `sage-benchmark replay`: what is wanted, from its options. Knows nothing of how it is replayed."""

from typing import Annotated

import typer

from benchmarks.policies_wanted import TraceName
from benchmarks.replay_wanted import ReplayWanted
from sage.base.clock import SystemClock

TraceArgument = Annotated[TraceName, typer.Argument(metavar="TRACE", help="What is replayed.")]
Url = Annotated[str, typer.Option("--url", help="The server; without a path, /v1 is meant.")]
Model = Annotated[str, typer.Option("--model", help="The model, as the server names it.")]
Speed = Annotated[float, typer.Option("--speed", min=0.001, help="2: twice as fast as the trace was.")]
Lengths = Annotated[
    float, typer.Option("--lengths", min=0.0001, max=1.0, help="Share of each request's tokens that is kept.")
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Requests of the trace at most.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the prompts' words, and of generated traces.")]
KeyEnv = Annotated[str, typer.Option("--key-env", metavar="NAME", help="Environment variable with the server's key.")]
Silence = Annotated[
    float, typer.Option("--max-silence", min=0.01, help="Seconds that the server may be silent amid an answer.")
]
Target = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write the result document.")]


def replay(
    trace: TraceArgument,
    url: Url,
    model: Model,
    speed: Speed = 1.0,
    lengths: Lengths = 1.0,
    limit: Limit = None,
    seed: Seed = 7,
    key_env: KeyEnv = "",
    max_silence: Silence = 120.0,
    json: Target = None,
) -> None:
    """Replay a trace against a server that speaks OpenAI's API, in open loop."""
    from benchmarks.deliver import deliver
    from benchmarks.document import document_of
    from benchmarks.replay import measure_replay

    wanted = ReplayWanted(trace, url, model, speed, lengths, limit, seed, key_env, max_silence)
    document = document_of(
        wanted.command(),
        seed=seed,
        clock=SystemClock(),
        results=lambda: measure_replay(wanted, lambda what: typer.echo(what, err=True)),
    )
    deliver(document, json)
