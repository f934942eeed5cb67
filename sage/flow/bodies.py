"""Which steps are in the bodies of loops, and whether they can be. Pure; knows nothing of how loops run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sage.base.errors import FlowInvalid
from sage.flow.graph import Step, consumers_of
from sage.flow.iterate import INSIDE, Again, Iterate
from sage.flow.kinds import kind_of_step
from sage.flow.spec import (
    SINKS,
    Aggregate,
    AsOf,
    AssignTimestamps,
    Fold,
    JoinWindows,
    Process,
    Reduce,
    Spec,
    TakeSide,
    ToAll,
    Window,
    Within,
)

_END_OUTSIDE = "End it after the loop: end the stream that iterate returns in a sink."
_BY_TIME = "Put it before or after the loop; in the body, keep what a key has by fold or reduce."
_UPDATES = "Leave final away: every record then gives an update."


def returns_of(steps: Sequence[Step]) -> list[tuple[Step, Step]]:
    """Return each pair of the last step of a loop's body and the `iterate` that its records come back to."""
    heads = {step.spec.loop: step for step in steps if isinstance(step.spec, Iterate)}
    return [(step, heads[step.spec.loop]) for step in steps if isinstance(step.spec, Again) and step.spec.loop in heads]


def with_bodies(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return `steps`, which are in topological order, each with the loop in whose body it is.

    Raises FlowInvalid, naming the user's line: a body that does not come back, that takes records from outside or lets
    them out, that has a step in it which waits for event time or for the end of its stream.
    """
    heads = [step for step in steps if isinstance(step.spec, Iterate)]
    if not heads and not any(isinstance(step.spec, Again) for step in steps):
        return steps
    readers = consumers_of(steps)
    pairs = returns_of(steps)
    last_of = {head.name: last for last, head in pairs}
    for step in steps:
        if isinstance(step.spec, Again) and step not in (last for last, _ in pairs):
            raise FlowInvalid(f'{step.where}: "{step.name}" ends the body of a loop which begins nowhere')
    inside: dict[str, str] = {}
    for head in heads:  # a loop in the body of another one stands after it: the innermost counts
        body = _body(head, readers)
        for name in body:
            inside[name] = head.name
        for step in steps:
            if step.name in body:
                _check_in_body(step, head, body)
    for head in heads:
        last = last_of.get(head.name)
        if last is None or inside.get(last.name) != head.name:
            raise FlowInvalid(
                f'{head.where}: the body of "{head.name}" returns a stream that does not come of the one it was given',
                "Return what the body's own steps make of its argument: lambda stream: stream.map(...).",
            )
    return tuple(replace(step, inside=inside.get(step.name)) for step in steps)


def _body(head: Step, readers: Mapping[str, tuple[Step, ...]]) -> set[str]:
    """Return the steps that records reach which went into the loop and have not left it."""
    body: set[str] = set()
    waiting = [step for step in readers[head.name] if _begins_body(step)]
    while waiting:
        step = waiting.pop()
        if step.name not in body:
            body.add(step.name)
            waiting += readers[step.name]
    return body


def _begins_body(step: Step) -> bool:
    return isinstance(step.spec, TakeSide) and step.spec.tag == INSIDE


def _check_in_body(step: Step, head: Step, body: set[str]) -> None:
    if _begins_body(step) and step.inputs == (head.name,):
        return
    others = [name for name in step.inputs if name not in body]
    if others:
        raise FlowInvalid(
            f'{step.where}: {kind_of_step(step.spec)} brings "{others[0]}" into the body of "{head.name}", whose '
            "records alone are counted there",
            "Put the streams together before the loop.",
        )
    if (why_not := _why_not(step.spec)) is not None:
        what, do = why_not
        kind = kind_of_step(step.spec)
        raise FlowInvalid(f'{step.where}: {kind} is in the body of "{head.name}", {what}', do)


def _why_not(spec: Spec) -> tuple[str, str] | None:
    """Return why such a step is in no body, and what to do; None where it may be."""
    match spec:
        case Aggregate(final=True) | Reduce(final=True) | Fold(final=True):
            return "where it would wait for an end that comes once no record is there any more", _UPDATES
        case AssignTimestamps() | Window() | Within() | JoinWindows() | AsOf() | Process():
            return "where there is no event time: it goes on once a record has left the loop", _BY_TIME
        case ToAll():
            return "where each record is to come back, and not once for each instance", "Put it before the loop."
        case _ if isinstance(spec, SINKS):
            return "whose records all come back", _END_OUTSIDE
        case _:
            return None
