"""Whether steps make a flow that can run. Knows nothing of how flows are written down or run."""

from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from sage.base.errors import FlowInvalid
from sage.flow.bodies import with_bodies
from sage.flow.check_files import check_files, files_of_sink
from sage.flow.check_step import check_step
from sage.flow.dues import with_dues
from sage.flow.graph import Graph, Step, consumers_of
from sage.flow.kinds import kind_of_step
from sage.flow.posts import check_posts
from sage.flow.sink_keys import with_sink_keys
from sage.flow.spec import (
    SINKS,
    Again,
    Aggregate,
    AsOf,
    AssignTimestamps,
    Fold,
    IndexInto,
    JoinWindows,
    KeyBy,
    Process,
    Read,
    Reduce,
    Retrieve,
    TakeSide,
    ToAll,
    Union,
    Window,
    Within,
    sides_of,
)
from sage.flow.turns import with_turns
from sage.flow.two_inputs import has_broadcast, takes_two
from sage.flow.windows import Session, Sliding, Tumbling


def graph_from_steps(name: str, steps: Iterable[Step]) -> Graph:
    """Check `steps` and put them into topological order (the given order, where that is one).

    Raises FlowInvalid, naming the user's line: no sink, an output nobody uses, two steps of one name, a cycle, a wrong
    number of inputs, an aggregate without a key, a window without event time, a retrieval that would wait for itself, a
    loop that cannot be one, a file that is read and written, a setting out of range.
    """
    given = tuple(steps)
    if not given:
        raise FlowInvalid(f'the flow "{name}" has no steps', "Begin with a source: flow.from_collection([...]).")
    by_name = _by_name(given)
    for step in given:
        check_step(step)
        _check_inputs(step, by_name)
    ordered = with_sink_keys(with_bodies(_in_order(name, given, by_name)))
    _check_ends(name, ordered)
    _check_waits(ordered, by_name)
    _check_time(ordered)
    check_posts(ordered)
    check_files(ordered)
    return Graph(name, with_dues(with_turns(ordered)))


def _by_name(steps: tuple[Step, ...]) -> dict[str, Step]:
    found: dict[str, Step] = {}
    for step in steps:
        twin = found.setdefault(step.name, step)
        if twin is not step:
            raise FlowInvalid(
                f'{step.where}: two steps are named "{step.name}"; the other is at {twin.where}',
                "Give one of them another name: .named(...).",
            )
    return found


def _check_inputs(step: Step, by_name: Mapping[str, Step]) -> None:
    kind, num_inputs = kind_of_step(step.spec), len(step.inputs)
    for name in step.inputs:
        if name not in by_name:
            raise FlowInvalid(f'{step.where}: {kind} reads from "{name}", which is no step of this flow')
        if isinstance(by_name[name].spec, SINKS):
            raise FlowInvalid(f'{step.where}: {kind} reads from "{name}", where a stream has ended')
    if isinstance(step.spec, Union):
        if num_inputs < 2 or len(set(step.inputs)) < num_inputs:
            raise FlowInvalid(f"{step.where}: union takes two or more streams, each once", "Name the other streams.")
    elif takes_two(step.spec):
        kinds = [type(by_name[name].spec) for name in step.inputs]
        if has_broadcast(step.spec) and kinds != [KeyBy, ToAll]:
            raise FlowInvalid(f"{step.where}: {kind} takes a keyed stream and a broadcast one")
        if not has_broadcast(step.spec) and kinds != [KeyBy, KeyBy]:
            raise FlowInvalid(f"{step.where}: {kind} takes two keyed streams", "Write .key_by(...) before it.")
    elif num_inputs != (0 if isinstance(step.spec, Read) else 1):
        raise FlowInvalid(f"{step.where}: {kind} has {num_inputs} inputs")
    if isinstance(step.spec, TakeSide) and step.spec.tag not in (sides := sides_of(by_name[step.inputs[0]].spec)):
        known = ", ".join(map(repr, sides)) or "none"
        raise FlowInvalid(f'{step.where}: "{step.inputs[0]}" has no side {step.spec.tag!r}; its sides: {known}')
    if isinstance(step.spec, Aggregate | Reduce | Fold | Window | Process) and not isinstance(
        by_name[step.inputs[0]].spec, KeyBy
    ):
        raise FlowInvalid(f"{step.where}: {kind} needs a key", "Write .key_by(...) before it.")


def _in_order(flow_name: str, steps: tuple[Step, ...], by_name: Mapping[str, Step]) -> tuple[Step, ...]:
    try:
        order = list(TopologicalSorter({step.name: step.inputs for step in steps}).static_order())
    except CycleError as error:
        names: list[str] = error.args[1]
        raise FlowInvalid(
            f'{by_name[names[0]].where}: steps of "{flow_name}" feed each other in a circle: {" -> ".join(names)}'
        ) from error
    place = {step.name: index for index, step in enumerate(steps)}
    if all(place[name] < place[step.name] for step in steps for name in step.inputs):
        return steps
    return tuple(by_name[name] for name in order)


def _check_ends(flow_name: str, steps: tuple[Step, ...]) -> None:
    end = "End it in collect(), for_each(fn), print(), write_jsonl(path) or index_into(index)."
    if not any(isinstance(step.spec, SINKS) for step in steps):
        raise FlowInvalid(f'{steps[-1].where}: the flow "{flow_name}" has no sink, so its results go nowhere', end)
    readers = consumers_of(steps)
    files: dict[str, Step] = {}
    for step in steps:
        taken = {reader.spec.tag for reader in readers[step.name] if isinstance(reader.spec, TakeSide)}
        for tag in sides_of(step.spec):
            if tag not in taken:
                raise FlowInvalid(f'{step.where}: nothing uses the side {tag!r} of "{step.name}"', _take(tag))
        if not readers[step.name] and not isinstance(step.spec, (*SINKS, Again)):
            raise FlowInvalid(f'{step.where}: nothing uses what the step "{step.name}" gives', end)
        for path in files_of_sink(step):
            twin = files.setdefault(path, step)
            if twin is not step:
                raise FlowInvalid(
                    f"{step.where}: two steps write {path}; the other is at {twin.where}",
                    "Write two files, or put the streams together by union.",
                )


def _take(tag: str) -> str:
    return f"Take it: .side({tag!r}), and end it in a sink."


def _check_time(steps: tuple[Step, ...]) -> None:
    """Refuse a window where the records have no event time to put them into it."""
    timeless: dict[str, Step] = {}  # whose records have none, and the step that is why
    for step in steps:
        counted = step.inputs[:1] if has_broadcast(step.spec) else step.inputs
        before = next((timeless[name] for name in counted if name in timeless), None)
        match step.spec:
            case Read(time=time):
                before = step if time is None else None
            case AssignTimestamps():
                before = None
            case Aggregate(final=True) | Reduce(final=True) | Fold(final=True):
                before = step
            case (
                Window(shape=Tumbling() | Sliding() | Session())
                | Process(expires=True)
                | Within()
                | JoinWindows()
                | AsOf()
            ) if before is not None:
                raise _needs_time(step, before)
        if before is not None:
            timeless[step.name] = before


def _needs_time(step: Step, before: Step) -> FlowInvalid:
    kind = "a state that expires" if isinstance(step.spec, Process) else kind_of_step(step.spec)
    return FlowInvalid(
        f'{step.where}: {kind} needs event time, and what "{before.name}" ({before.where}) gives has none',
        "Give the source timestamp=, a function of the record, or write .assign_timestamps(fn).",
    )


def _check_waits(steps: tuple[Step, ...], by_name: Mapping[str, Step]) -> None:
    """Refuse a retrieval that must wait for an index whose filling waits for the retrieval.

    A waiting `retrieve` takes no records, so that, buffers being bounded, nothing before it can end either: each step
    above it waits for the steps that fill the index. A circle in this relation never ends.
    """
    waits: dict[str, set[str]] = {step.name: set(step.inputs) for step in steps}
    for retrieve, filler in fills(steps):
        for name in (retrieve.name, *_above(retrieve, by_name)):
            waits[name].add(filler.name)
    try:
        TopologicalSorter(waits).prepare()
    except CycleError as error:
        circle: set[str] = set(error.args[1])
        retrieve, filler = next(
            (r, f) for r, f in fills(steps) if f.name in circle and not circle.isdisjoint({r.name, *_above(r, by_name)})
        )
        raise FlowInvalid(
            f'{retrieve.where}: "{retrieve.name}" waits until "{filler.name}" ({filler.where}) has ended, which gets '
            "its records from the same steps and so waits for it in turn",
            "Begin a second stream for the questions: read the source once more, or use two flows.",
        ) from error


def fills(steps: Sequence[Step]) -> list[tuple[Step, Step]]:
    """Return each pair of a `retrieve` and a step of the same flow that fills its index."""
    return [
        (retrieve, filler)
        for retrieve in steps
        for filler in steps
        if isinstance(retrieve.spec, Retrieve)
        and isinstance(filler.spec, IndexInto)
        and retrieve.spec.index == filler.spec.index
    ]


def _above(step: Step, by_name: Mapping[str, Step]) -> set[str]:
    found: set[str] = set()
    waiting = list(step.inputs)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(by_name[name].inputs)
    return found
