"""The command `sage-benchmark plane`: what is wanted, from its options. Knows nothing of how it is measured."""

from typing import Annotated

import typer

from benchmarks.plane_wanted import PlaneWanted
from benchmarks.policies_command import check_names
from sage.base.clock import SystemClock

Policies = Annotated[list[str] | None, typer.Option("--policy", help="May be repeated; by default all.")]
Routes = Annotated[list[str] | None, typer.Option("--route", help="May be repeated; by default least_work and auto.")]
Engines = Annotated[list[int] | None, typer.Option("--engines", min=1, help="May be repeated; by default 8, 64, 256.")]
Waiting = Annotated[int, typer.Option("--waiting", min=1, help="Requests that wait all the time.")]
Decisions = Annotated[int, typer.Option("--decisions", min=1, help="Requests that are timed in each round.")]
Rounds = Annotated[int, typer.Option("--rounds", min=1, help="How often each is timed.")]
Simulated = Annotated[
    list[int] | None,
    typer.Option(
        "--simulate", min=1, help="Say how fast a trace of $SAGE_DATA is replayed by so many simulated engines too."
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the requests.")]
Target = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write the result document.")]


def plane(
    policy: Policies = None,
    route: Routes = None,
    engines: Engines = None,
    waiting: Waiting = 10_000,
    decisions: Decisions = 2_000,
    rounds: Rounds = 5,
    simulate: Simulated = None,
    seed: Seed = 7,
    json: Target = None,
) -> None:
    """Time what a decision of the control plane costs, by policy, route and number of engines."""
    from benchmarks.deliver import deliver
    from benchmarks.document import document_of
    from benchmarks.plane import measure_plane
    from cluster.serving.policy import POLICY_NAMES

    check_names(policy or (), route or ())
    wanted = PlaneWanted(
        policies=tuple(policy or POLICY_NAMES),
        routes=tuple(route or ("least_work", "auto")),
        engines=tuple(engines or (8, 64, 256)),
        waiting=waiting,
        num_decisions=decisions,
        num_rounds=rounds,
        seed=seed,
        simulated=tuple(simulate or ()),
    )
    document = document_of(
        wanted.command(),
        seed=seed,
        clock=SystemClock(),
        results=lambda: measure_plane(wanted, lambda what: typer.echo(what, err=True)),
    )
    deliver(document, json)
