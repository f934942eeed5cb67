"""Plans to outlines and back. Pure: a head places and watches a job by its outline, and never loads users' code.

A plan made from an outline can be looked at; what it would run raises an InternalError that says so.
"""

from typing import Any, NoReturn

from cluster.runtime.job_outline import ChainOutline, ChannelOutline, PlanOutline, StepKind, StepOutline
from sage.base.errors import FlowInvalid, InternalError
from sage.flow.chat import ChatSource
from sage.flow.graph import Graph, Step, Where, states_of
from sage.flow.plan import Chain, Channel, Plan
from sage.flow.spec import Embed, Fold, ForEach, Generate, IndexInto, Map, Read, Reply, Rerank, Retrieve, Spec, Write
from sage.flow.state_form import form_of_step
from sage.flow.state_form_value import StateForm

_NO_FORM = StateForm("")
"""Of a step without state, or of an outline that an older version kept: nothing is compared."""


def outline_from_plan(plan: Plan) -> PlanOutline:
    """Return what of `plan` can travel."""
    states = states_of(plan.graph)
    return PlanOutline(
        plan.graph.name,
        tuple(_outline_of_step(step, has_state=step.name in states) for step in plan.graph.steps),
        tuple(
            ChainOutline(chain.id, tuple(step.name for step in chain.steps), chain.parallelism, chain.demand)
            for chain in plan.chains
        ),
        tuple(
            ChannelOutline(channel.source, channel.target, channel.routing, channel.side, channel.port)
            for channel in plan.channels
        ),
    )


def plan_from_outline(outline: PlanOutline) -> Plan:
    """Return the plan without its code. Raises FlowInvalid where the outline is not that of any plan."""
    steps = {step.name: _step(step) for step in outline.steps}
    try:
        chains = tuple(
            Chain(chain.id, tuple(steps[name] for name in chain.steps), chain.parallelism, chain.demand)
            for chain in outline.chains
        )
    except KeyError as error:
        raise FlowInvalid(f"the outline of {outline.name!r} has no step {error}") from error
    channels = tuple(
        Channel(channel.source, channel.target, channel.routing, channel.side, channel.port)
        for channel in outline.channels
    )
    _check(outline, chains, channels)
    return Plan(Graph(outline.name, tuple(steps.values())), chains, channels)


def is_same_work(here: PlanOutline, there: PlanOutline) -> bool:
    """Say whether both are cut into the same tasks and links; where the files are does not count."""
    return (here.chains, here.channels) == (there.chains, there.channels)


def _outline_of_step(step: Step, *, has_state: bool) -> StepOutline:
    kind, uses = _kind_of(step.spec)
    return StepOutline(
        name=step.name,
        kind=kind,
        inputs=step.inputs,
        file=step.where.file,
        line=step.where.line,
        parallelism=step.parallelism,
        demand=step.demand,
        uses=uses,
        has_state=has_state,
        raw=isinstance(step.spec, Generate) and step.spec.raw,
        form=form_of_step(step),
    )


def _kind_of(spec: Spec) -> tuple[StepKind, str]:
    match spec:
        case Read(source=ChatSource(name=name)):
            return "from_chat", name
        case Read():
            return "read", ""
        case Reply():
            return "reply", ""
        case Generate(model=model):
            return "generate", model
        case Embed(model=model):
            return "embed", model
        case IndexInto(index=index):
            return "index_into", index
        case Retrieve(index=index):
            return "retrieve", index
        case Rerank(model=model):
            return "rerank", model
        case Write():
            return "write", ""
        case ForEach():
            return "for_each", ""
        case _:
            return "other", ""


def _step(outline: StepOutline) -> Step:
    where = Where(outline.file, outline.line)
    return Step(
        outline.name,
        _spec(outline),
        outline.inputs,
        where,
        outline.parallelism,
        outline.demand,
        form=outline.form or _NO_FORM,
    )


def _spec(step: StepOutline) -> Spec:
    match step.kind:
        case "read":
            return Read(_Elsewhere())
        case "from_chat":
            return Read(ChatSource(step.uses))
        case "reply":
            return Reply()
        case "generate":
            return Generate(step.uses, "", raw=step.raw)
        case "embed":
            return Embed(step.uses)
        case "index_into":
            return IndexInto(step.uses, "", "")
        case "retrieve":
            return Retrieve(step.uses, 1, "")
        case "rerank":
            return Rerank(step.uses, "")
        case "write":
            return Write(_Elsewhere())
        case "for_each":
            return ForEach(_run_elsewhere)
        case "other" if step.has_state:
            return Fold(None, _run_elsewhere)
        case "other":
            return Map(_run_elsewhere)


def _check(outline: PlanOutline, chains: tuple[Chain, ...], channels: tuple[Channel, ...]) -> None:
    """Refuse what no plan looks like: whoever sent it may be wrong or ill."""
    ids = {chain.id for chain in chains}
    ends = {end for channel in channels for end in (channel.source, channel.target)}
    is_whole = len(ids) == len(chains) and all(chain.steps and chain.parallelism >= 1 for chain in chains)
    if not (chains and is_whole and ends <= ids and len(outline.steps) == len({s.name for s in outline.steps})):
        raise FlowInvalid(f"the outline of {outline.name!r} is not that of a plan")


class _Elsewhere:
    """Stands for a source or a sink."""

    def open(self) -> NoReturn:
        raise InternalError("this source or sink is open on the job's nodes only")


def _run_elsewhere(*_: Any) -> NoReturn:
    raise InternalError("this function runs on the job's nodes only")
