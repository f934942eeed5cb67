"""The command `sage-benchmark policies`: what is wanted, from its options. Knows nothing of how it is simulated."""

from collections.abc import Iterable
from math import isfinite
from typing import Annotated

import typer

from benchmarks.mix import IN_THREE, Mix, mix_from_text, texts_from_text
from benchmarks.policies_wanted import PoliciesWanted, Profile, Prompts, Sharing, Shedding, TextsWanted, TraceName
from sage.base.clock import SystemClock

MAX_LOAD = 1_000.0
"""An hour comes within seconds then: of more there is nothing to tell."""

Traces = Annotated[list[TraceName] | None, typer.Option("--trace", help="What is replayed; by default generated.")]
Policies = Annotated[list[str] | None, typer.Option("--policy", help="May be repeated; by default fifo and hybrid.")]
Routes = Annotated[list[str] | None, typer.Option("--route", help="May be repeated; by default least_work and auto.")]
Sheds = Annotated[Shedding, typer.Option("--admission", help="Whether to refuse at the door what would be late.")]
Engines = Annotated[list[int] | None, typer.Option("--engines", min=1, help="Simulated engines; may be repeated.")]
Load = Annotated[
    list[float] | None,
    typer.Option("--load", min=0.01, help="1 is the rate that the engines just get through; may be repeated."),
]
Shares = Annotated[
    str | None,
    typer.Option("--mix", help="Shares of the classes, by chance: interactive=0.2,standard=0.3,batch=0.5, or fewer."),
]
Mixed = Annotated[
    bool, typer.Option("--mixed-classes", help="The same as --mix interactive=0.5,standard=0.3,batch=0.2.")
]
Interference = Annotated[
    bool, typer.Option("--interference", help="Replay the busiest tenants in pairs: what one costs another.")
]
FindLoad = Annotated[
    float | None,
    typer.Option("--find-load", min=0.01, max=1.0, help="Look for the highest load with this share of good requests."),
]
Costs = Annotated[Profile, typer.Option("--profile", help="Which engine is simulated.")]
Seeds = Annotated[int, typer.Option("--seeds", min=1, help="Replays of each, with arrivals moved a little.")]
Windows = Annotated[
    list[int] | None, typer.Option("--window", min=1, help="Sequences given to one engine at once; may be repeated.")
]
PromptWindows = Annotated[
    list[Prompts] | None, typer.Option("--prompts", help="Prompts kept in an engine; may be repeated; else adaptive.")
]
Texts = Annotated[
    str | None,
    typer.Option(
        "--texts", help="Texts to embed beside chat, a class and how many a second: standard=40. On cpu2 only."
    ),
]
SharedBy = Annotated[Sharing, typer.Option("--sharing", help="When they may be embedded while chat runs.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Requests of each trace at most.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of generated traces, and of how arrivals are moved.")]
Target = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write the result document.")]


def policies(
    trace: Traces = None,
    policy: Policies = None,
    route: Routes = None,
    admission: Sheds = Shedding.DEADLINE,
    engines: Engines = None,
    load: Load = None,
    mix: Shares = None,
    mixed_classes: Mixed = False,
    interference: Interference = False,
    find_load: FindLoad = None,
    profile: Costs = Profile.H100,
    seeds: Seeds = 1,
    window: Windows = None,
    prompts: PromptWindows = None,
    texts: Texts = None,
    sharing: SharedBy = Sharing.GATED,
    limit: Limit = None,
    seed: Seed = 7,
    json: Target = None,
) -> None:
    """Replay traces against the control plane over simulated engines, by each policy and route."""
    wanted = PoliciesWanted(
        traces=tuple(trace or [TraceName.GENERATED]),
        policies=tuple(policy or ("fifo", "hybrid")),
        routes=tuple(route or ("least_work", "auto")),
        admission=admission,
        num_engines=tuple(engines or (4,)),
        loads=_loads(load or [], find_load, is_beside=bool(interference or texts)),
        mix=wanted_mix(mix, is_in_three=mixed_classes),
        with_interference=interference,
        find_load=find_load,
        profile=profile,
        seed=seed,
        num_seeds=seeds,
        windows=tuple(window or ()),
        limit=limit,
        prompts=tuple(prompts or [Prompts.ADAPTIVE]),
        texts=wanted_texts(texts, sharing, profile, is_in_pairs=interference),
    )
    _run(wanted, json)


def _loads(loads: list[float], goodput: float | None, *, is_beside: bool) -> tuple[float, ...]:
    """Return the loads to replay at: none where one is looked for."""
    check_loads(loads, "--load")
    if goodput is None:
        return tuple(loads or (1.2,))
    check_loads([goodput], "--find-load")
    if loads or is_beside:
        problem = "it goes neither with --load nor with --interference, nor with --texts"
        raise typer.BadParameter(problem, param_hint="--find-load")
    return ()


def wanted_mix(text: str | None, *, is_in_three: bool) -> Mix | None:
    """Return the shares of the classes that options ask for; None where none does."""
    if text is None:
        return IN_THREE if is_in_three else None
    if is_in_three:
        raise typer.BadParameter("it goes not with --mixed-classes, which is a mix of its own", param_hint="--mix")
    try:
        return mix_from_text(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--mix") from None


def wanted_texts(text: str | None, sharing: Sharing, profile: Profile, *, is_in_pairs: bool) -> TextsWanted | None:
    """Return what an option asks for beside chat; None where it does not. Refuses devices on which that is unknown."""
    if text is None:
        return None
    if is_in_pairs:
        raise typer.BadParameter(
            "it goes not with --interference: pairs of tenants have no texts", param_hint="--texts"
        )
    from benchmarks.simulator.contention import contention_of
    from sage.base.errors import ConfigInvalid

    try:
        contention_of(profile.value)
        return TextsWanted(texts_from_text(text), sharing)
    except ConfigInvalid as error:
        raise typer.BadParameter(f"{error.what}. {error.do}", param_hint="--profile") from None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--texts") from None


def check_loads(numbers: list[float], option: str) -> None:
    """Refuse more than MAX_LOAD, and what is read as a number and is none: `nan` passes all bounds."""
    for number in numbers:
        if not isfinite(number):
            raise typer.BadParameter(f"{number} is no load", param_hint=option)
        if number > MAX_LOAD:
            raise typer.BadParameter(f"{number:g} is more than {MAX_LOAD:g}, the highest", param_hint=option)


def check_names(policies: Iterable[str], routes: Iterable[str]) -> None:
    """Refuse policies and routes that there are not, before any of the others is at work."""
    from cluster.serving.policy import policy_named
    from cluster.serving.routes import route_named
    from cluster.serving.size import TextSizing
    from sage.base.errors import UnknownPolicy

    try:
        for name in policies:
            policy_named(name)
        for name in routes:
            route_named(name, TextSizing())
    except UnknownPolicy as error:
        option = "--policy" if error.param == "policy" else "--route"
        raise typer.BadParameter(f"{error.what}. {error.do}", param_hint=option) from None


def _run(wanted: PoliciesWanted, json: str | None) -> None:
    check_names(wanted.policies, wanted.routes)
    from benchmarks.deliver import deliver
    from benchmarks.document import document_of
    from benchmarks.policies import measure_policies

    clock = SystemClock()
    document = document_of(
        wanted.command(),
        seed=wanted.seed,
        clock=clock,
        results=lambda: measure_policies(wanted, clock, lambda what: typer.echo(what, err=True)),
    )
    deliver(document, json)
