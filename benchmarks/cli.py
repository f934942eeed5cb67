"""Measure streams and serving, each result with where and how it came about. Knows no measurement itself."""

import sys
from typing import Annotated

import typer

from benchmarks.calibrate_command import calibrate
from benchmarks.checkpoint_wanted import CheckpointRival, CheckpointWanted
from benchmarks.cluster_wanted import ClusterWanted, ClusterWorkload
from benchmarks.cosched_command import cosched
from benchmarks.latency_wanted import LatencyRival, LatencyWanted
from benchmarks.live_command import live
from benchmarks.plane_command import plane
from benchmarks.policies_command import policies
from benchmarks.replay_command import replay
from benchmarks.report_command import compare, report
from benchmarks.wanted import MODEL_WORKLOADS, StreamEngine, StreamWorkload, Wanted
from benchmarks.wire_wanted import Way, WireRival, WireWanted, WireWorkload
from sage.base.clock import SystemClock
from sage.cli import new_app, run_command

app = new_app("Measure streams and serving.")

DEFAULT_SEED = 7

app.command()(calibrate)
app.command()(cosched)
app.command()(live)
app.command()(plane)
app.command()(policies)
app.command()(replay)
app.command()(report)
app.command()(compare)


Workloads = Annotated[
    list[StreamWorkload] | None,
    typer.Option("--workload", help="What to compute, may be repeated; by default W1 and W2."),
]
Engines = Annotated[
    list[StreamEngine] | None,
    typer.Option("--engine", help="What W1 to W5 run on, may be repeated; by default sage and python."),
]
Records = Annotated[
    int | None,
    typer.Option("--records", min=1, help="Records, words, texts or questions; by default the workload's own number."),
]
BatchRecords = Annotated[
    int | None, typer.Option("--batch", min=1, help="Records that travel together; by default that of the settings.")
]
Rounds = Annotated[int, typer.Option("--rounds", min=1, help="How often each is timed, in turns.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of generated text.")]
ModelEngine = Annotated[
    str,
    typer.Option(
        "--model-engine",
        metavar="SPEC",
        help="What embed, generate and windows run on: KIND:TARGET[,KEY=VALUE...]; by default as configured.",
    ),
]
Target = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write the result document.")]


def main() -> int:
    """Run `sage-benchmark` and return its exit status."""
    return run_command(app, "sage-benchmark", sys.argv[1:])


def _say(what: str) -> None:
    typer.echo(what, err=True)


@app.command()
def stream(
    workload: Workloads = None,
    engine: Engines = None,
    records: Records = None,
    batch: BatchRecords = None,
    rounds: Rounds = 7,
    seed: Seed = DEFAULT_SEED,
    model_engine: ModelEngine = "",
    json: Target = None,
) -> None:
    """Time streams against their limit in the same run: a plain Python loop, or the engine called directly."""
    workloads = tuple(workload or (StreamWorkload.W1, StreamWorkload.W2))
    if engine and not MODEL_WORKLOADS.isdisjoint(workloads):
        raise typer.BadParameter(
            "embed and generate run on sage and on the engine called directly", param_hint="--engine"
        )
    if model_engine and not MODEL_WORKLOADS.issuperset(workloads):
        raise typer.BadParameter("only embed, generate and windows ask a model", param_hint="--model-engine")
    from benchmarks.deliver import deliver
    from benchmarks.document import document_of
    from benchmarks.session import measure

    wanted = Wanted(
        workloads=workloads,
        engines=tuple(engine or ()),
        num_records=records,
        batch_records=batch,
        num_rounds=rounds,
        seed=seed,
        model_engine=model_engine,
    )
    document = document_of(wanted.command(), seed=seed, clock=SystemClock(), results=lambda: measure(wanted, _say))
    deliver(document, json)


@app.command()
def wire(
    workload: Annotated[
        list[WireWorkload] | None, typer.Option("--workload", help="What a record is, may be repeated; by default all.")
    ] = None,
    way: Annotated[
        list[Way] | None, typer.Option("--way", help="How the processes reach each other; by default both.")
    ] = None,
    rival: Annotated[
        list[WireRival] | None, typer.Option("--rival", help="Who else sends the same in turns, may be repeated.")
    ] = None,
    records: Annotated[int, typer.Option("--records", min=1, help="Records sent in each round.")] = 1_000_000,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Records that travel together.")] = 1000,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often each is timed.")] = 5,
    json: Target = None,
) -> None:
    """Time records of about 110 bytes between two processes, and the round trip of a small message."""
    from benchmarks.deliver import deliver
    from benchmarks.document import document_of
    from benchmarks.wire import measure_wire

    wanted = WireWanted(
        tuple(workload or WireWorkload), tuple(way or Way), records, batch, rounds, tuple(dict.fromkeys(rival or ()))
    )
    clock = SystemClock()
    document = document_of(wanted.command(), seed=0, clock=clock, results=lambda: measure_wire(wanted, clock, _say))
    deliver(document, json)


@app.command()
def cluster(
    workload: Annotated[
        list[ClusterWorkload] | None,
        typer.Option("--workload", help="What to measure, may be repeated; by default all."),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.01, help="About how long one node takes for a round.")
    ] = 1.0,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often each is timed, in turns.")] = 5,
    overload_s: Annotated[float, typer.Option("--overload-s", min=1.0, help="How long an overload is watched.")] = 60.0,
    json: Target = None,
) -> None:
    """Time two node processes against one, a task's round trip, control beside data, a cluster at rest, and one whose
    stream ends slower than it is read."""
    from benchmarks.cluster import measure_cluster
    from benchmarks.deliver import deliver
    from benchmarks.document import document_of

    wanted = ClusterWanted(tuple(workload or ClusterWorkload), seconds, rounds, overload_s)
    clock = SystemClock()
    document = document_of(wanted.command(), seed=0, clock=clock, results=lambda: measure_cluster(wanted, clock))
    deliver(document, json)


@app.command()
def checkpoint(
    records: Annotated[int, typer.Option("--records", min=1000, help="Records summed in each round.")] = 20_000_000,
    keys: Annotated[int, typer.Option("--keys", min=1, help="Keys that have a sum each.")] = 100_000,
    every: Annotated[float, typer.Option("--every", min=0.01, help="Seconds from checkpoint to checkpoint.")] = 1.0,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often each is timed, in turns.")] = 5,
    kills: Annotated[int, typer.Option("--kills", min=0, help="How often a process is killed.")] = 5,
    worker_kills: Annotated[int, typer.Option("--worker-kills", min=0, help="How often a worker of local:2 is.")] = 0,
    node_kills: Annotated[int, typer.Option("--node-kills", min=0, help="How often a node of a cluster is.")] = 0,
    head_kills: Annotated[int, typer.Option("--head-kills", min=0, help="How often the head of a cluster is.")] = 0,
    rival: Annotated[
        list[CheckpointRival] | None, typer.Option("--rival", help="Who else sums in turns, with and without.")
    ] = None,
    rival_records: Annotated[
        int | None, typer.Option("--rival-records", min=1000, help="Records of rivals; by default as many.")
    ] = None,
    json: Target = None,
) -> None:
    """Time a stream with checkpoints against the same without, and how soon a killed one is back at its rate."""
    from benchmarks.checkpoints import measure_checkpoints
    from benchmarks.deliver import deliver
    from benchmarks.document import document_of

    rivals = tuple(dict.fromkeys(rival or ()))
    wanted = CheckpointWanted(
        records, keys, every, rounds, kills, worker_kills, node_kills, head_kills, rivals, rival_records
    )
    clock = SystemClock()
    document = document_of(
        wanted.command(), seed=0, clock=clock, results=lambda: measure_checkpoints(wanted, clock, _say)
    )
    deliver(document, json)


@app.command()
def latency(
    rival: Annotated[
        list[LatencyRival] | None, typer.Option("--rival", help="Who else is timed in turns, may be repeated.")
    ] = None,
    records: Annotated[int, typer.Option("--records", min=100, help="Records timed in each place.")] = 10_000,
    rate: Annotated[float, typer.Option("--rate", min=0.1, help="Records a second.")] = 1000.0,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often each is timed, in turns.")] = 1,
    json: Target = None,
) -> None:
    """Time single records from their source to their end, within a process and across two, against a plain loop."""
    from benchmarks.deliver import deliver
    from benchmarks.document import document_of
    from benchmarks.latency import measure_latency

    wanted = LatencyWanted(records, rate, rounds, tuple(dict.fromkeys(rival or ())))
    clock = SystemClock()
    document = document_of(wanted.command(), seed=0, clock=clock, results=lambda: measure_latency(wanted, clock, _say))
    deliver(document, json)
