"""The command `sage-benchmark calibrate`: what is wanted, from its options. Knows nothing of how it is measured."""

from typing import Annotated

import typer

from benchmarks.calibrate_wanted import DEFAULT_LOAD, CalibrateWanted
from benchmarks.replay_command import KeyEnv, Lengths, Limit, Model, Seed, Silence, Target, TraceArgument, Url
from benchmarks.replay_wanted import ReplayWanted
from sage.base.clock import SystemClock
from sage.base.errors import InvalidRequest

Load = Annotated[
    float | None,
    typer.Option("--load", min=0.01, help="Of what the fitted engine can do; 0.6 where --speed does not say."),
]
OwnSpeed = Annotated[
    float | None, typer.Option("--speed", min=0.001, help="2: twice as fast as the trace was; in place of --load.")
]


def calibrate(
    trace: TraceArgument,
    url: Url,
    model: Model,
    load: Load = None,
    speed: OwnSpeed = None,
    lengths: Lengths = 1.0,
    limit: Limit = None,
    seed: Seed = 7,
    key_env: KeyEnv = "",
    max_silence: Silence = 120.0,
    max_sequences: Annotated[int, typer.Option("--max-sequences", min=1, help="Requests at once, for the fit.")] = 32,
    max_prompt: Annotated[int, typer.Option("--max-prompt", min=128, help="Longest prompt, in tokens.")] = 1024,
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, help="Parts of the trace; before and after each the server is probed.")
    ] = 5,
    chunk: Annotated[
        int,
        typer.Option(
            "--chunk", min=1, help="Tokens of prompts and answers that the engine works off in one iteration."
        ),
    ] = 256,
    json: Target = None,
) -> None:
    """Fit a simulated engine to a server, and say how far it is off when both replay a trace."""
    from benchmarks.calibrate import measure_calibration
    from benchmarks.deliver import deliver
    from benchmarks.document import document_of

    asked = ReplayWanted(trace, url, model, speed or 1.0, lengths, limit, seed, key_env, max_silence)
    wanted = CalibrateWanted(asked, _load(load, speed), max_sequences, max_prompt, rounds, chunk)
    document = document_of(
        wanted.command(),
        seed=seed,
        clock=SystemClock(),
        results=lambda: measure_calibration(wanted, lambda what: typer.echo(what, err=True)),
    )
    deliver(document, json)


def _load(load: float | None, speed: float | None) -> float | None:
    """Return the load that is wanted; None where the speed says how fast the trace is. Raises InvalidRequest."""
    if load is not None and speed is not None:
        raise InvalidRequest("--load and --speed both say how fast the trace is", "Name one of them.", param="load")
    return None if speed is not None else load or DEFAULT_LOAD
