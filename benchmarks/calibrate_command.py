"""The command `sage-benchmark calibrate`: what is wanted, from its options. Knows nothing of how it is measured."""

from typing import Annotated

import typer

from benchmarks.calibrate_wanted import CalibrateWanted
from benchmarks.replay_command import KeyEnv, Lengths, Limit, Model, Seed, Silence, Speed, Target, TraceArgument, Url
from benchmarks.replay_wanted import ReplayWanted
from sage.base.clock import SystemClock


def calibrate(
    trace: TraceArgument,
    url: Url,
    model: Model,
    speed: Speed = 1.0,
    lengths: Lengths = 1.0,
    limit: Limit = None,
    seed: Seed = 7,
    key_env: KeyEnv = "",
    max_silence: Silence = 120.0,
    max_sequences: Annotated[int, typer.Option("--max-sequences", min=1, help="Requests at once, for the fit.")] = 32,
    max_prompt: Annotated[int, typer.Option("--max-prompt", min=128, help="Longest prompt, in tokens.")] = 1024,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often each prompt's length is timed.")] = 5,
    chunk: Annotated[
        int, typer.Option("--chunk", min=1, help="Prompt tokens that the engine works off in one iteration.")
    ] = 256,
    json: Target = None,
) -> None:
    """Fit a simulated engine to a server, and say how far it is off when both replay a trace."""
    from benchmarks.calibrate import measure_calibration
    from benchmarks.deliver import deliver
    from benchmarks.document import document_of

    asked = ReplayWanted(trace, url, model, speed, lengths, limit, seed, key_env, max_silence)
    wanted = CalibrateWanted(asked, max_sequences, max_prompt, rounds, chunk)
    document = document_of(
        wanted.command(),
        seed=seed,
        clock=SystemClock(),
        results=lambda: measure_calibration(wanted, lambda what: typer.echo(what, err=True)),
    )
    deliver(document, json)
