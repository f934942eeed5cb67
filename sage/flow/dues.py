"""Which steps records with a time at which they are due pass on their way to a model. Pure; knows no operator."""

from dataclasses import replace

from sage.base.errors import FlowInvalid
from sage.flow.bodies import returns_of
from sage.flow.graph import DueRole, Graph, Step, consumers_of
from sage.flow.spec import (
    Again,
    AssignTimestamps,
    Embed,
    Filter,
    FlatMap,
    Generate,
    Iterate,
    KeyBy,
    Map,
    MapAsync,
    MapBatches,
    Read,
    Rerank,
    Retrieve,
    Split,
    TakeSide,
    Union,
)

_ASKING = (Generate, Embed, Rerank)
_KEEPING = (
    *(Read, Union, Map, Filter, FlatMap, MapAsync, MapBatches, AssignTimestamps, KeyBy, Split, TakeSide, Retrieve),
    *(Iterate, Again),
    *_ASKING,
)
"""Steps of whose every output it is known which record it came of."""


def has_dues(graph: Graph) -> bool:
    """Say whether records of `graph` are due at some time."""
    return any(step.dues is not None for step in graph.steps)


def with_dues(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return `steps`, in their order, with what each does about when its records are due.

    Raises FlowInvalid, naming the user's line, for a source whose records are due and reach no model.
    """
    if not any(_begins(step) for step in steps):
        return steps
    fed = _fed(steps)
    leads = _leading(steps)
    for step in steps:
        if _begins(step) and step.name not in leads:
            what = f"{step.where}: due_in_s orders what is asked of models, and no record of {step.name!r} gets to one"
            raise FlowInvalid(
                f"{what} through steps that make one record of one", "Leave due_in_s away.", param="due_in_s"
            )
    on_way = fed & leads
    return tuple(_with_role(step, on_way) for step in steps)


def _begins(step: Step) -> bool:
    return isinstance(step.spec, Read) and step.spec.due_in_s is not None


def _fed(steps: tuple[Step, ...]) -> set[str]:
    """Return the steps that records reach which are due."""
    fed: set[str] = set()
    for step in steps:
        if isinstance(step.spec, _KEEPING) and (_begins(step) or not fed.isdisjoint(step.inputs)):
            fed.add(step.name)
    return fed


def _leading(steps: tuple[Step, ...]) -> set[str]:
    """Return the steps that ask a model, and those from which records reach one."""
    readers = consumers_of(steps)
    heads = {last.name: head.name for last, head in returns_of(steps)}
    leads: set[str] = set()
    num_before = -1
    while len(leads) > num_before:  # what comes back to the beginning of a loop leads where that leads
        num_before = len(leads)
        for step in reversed(steps):
            onward = any(reader.name in leads for reader in readers[step.name]) or heads.get(step.name) in leads
            if isinstance(step.spec, _ASKING) or (onward and isinstance(step.spec, _KEEPING)):
                leads.add(step.name)
    return leads


def _with_role(step: Step, on_way: set[str]) -> Step:
    if step.name in on_way:
        return replace(step, dues=DueRole.ON_WAY)
    return step if on_way.isdisjoint(step.inputs) else replace(step, dues=DueRole.LEAVES)
