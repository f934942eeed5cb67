"""Which steps chat requests pass on their way to a reply, and whether they can. Pure; knows no operator."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sage.base.errors import FlowInvalid
from sage.flow.chat import ChatSource
from sage.flow.graph import Graph, OnError, Step, TurnRole, consumers_of
from sage.flow.spec import (
    Embed,
    Filter,
    FlatMap,
    Generate,
    Map,
    MapAsync,
    MapBatches,
    ModelStep,
    Read,
    Reply,
    Rerank,
    Retrieve,
    Union,
    Waiting,
)

_ONE_BY_ONE = (Read, Union, Map, Filter, FlatMap, MapAsync, MapBatches, Generate, Embed, Retrieve, Rerank, Reply)
"""Steps of whose every output it is known which record it came of."""


def chats_of(graph: Graph) -> dict[str, str]:
    """Return the chat models that `graph` answers, each with the name of the step that takes its requests."""
    return {step.spec.source.name: step.name for step in graph.steps if _is_chat(step)}  # type: ignore[union-attr]  # a Read


def with_turns(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return `steps`, in their order, with what each does about chat requests.

    On the way to a reply a record that fails fails its request, not the job: that one goes on for others.

    Raises FlowInvalid, naming the user's line: a chat stream without a reply, a reply without a chat stream, a step on
    the way whose outputs could not be told apart by request, two chat streams of one name, a flow that asks itself.
    """
    chats = [step for step in steps if _is_chat(step)]
    replies = [step for step in steps if isinstance(step.spec, Reply)]
    if not chats and not replies:
        return steps
    readers = consumers_of(steps)
    fed = _fed(steps)
    leads = _leading(steps, readers)
    _check_names(steps, chats)
    for step in replies:
        if step.name not in fed:
            raise FlowInvalid(f"{step.where}: reply answers chat requests, and none come here", _BEGIN)
    for step in chats:
        if step.name not in leads:
            raise FlowInvalid(f"{step.where}: nothing replies to the chat requests of {step.name!r}", _END)
    on_way = {name for name in fed if name in leads}
    for step in steps:
        if step.name in on_way:
            _check_on_way(step, on_way)
    num_ways = _num_ways(steps, readers)
    return tuple(_with_role(step, on_way, readers, num_ways) for step in steps)


_BEGIN = 'Begin its stream with flow.from_chat("name").'
_END = "End the stream in .reply()."


def _is_chat(step: Step) -> bool:
    return isinstance(step.spec, Read) and isinstance(step.spec.source, ChatSource)


def _fed(steps: Iterable[Step]) -> set[str]:
    """Return the steps that records of chat requests reach."""
    fed: set[str] = set()
    for step in steps:
        if _is_chat(step) or not fed.isdisjoint(step.inputs):
            fed.add(step.name)
    return fed


def _leading(steps: tuple[Step, ...], readers: Mapping[str, tuple[Step, ...]]) -> set[str]:
    """Return the steps from which records reach a reply."""
    leads: set[str] = set()
    for step in reversed(steps):
        if isinstance(step.spec, Reply) or any(reader.name in leads for reader in readers[step.name]):
            leads.add(step.name)
    return leads


def _num_ways(steps: tuple[Step, ...], readers: Mapping[str, tuple[Step, ...]]) -> dict[str, int]:
    """Return, for each step, by how many ways its records reach replies."""
    ways: dict[str, int] = {}
    for step in reversed(steps):
        onward = sum(ways[reader.name] for reader in readers[step.name])
        ways[step.name] = 1 if isinstance(step.spec, Reply) else onward
    return ways


def _check_names(steps: tuple[Step, ...], chats: list[Step]) -> None:
    names: dict[str, Step] = {}
    for step in chats:
        name = step.spec.source.name  # type: ignore[union-attr]  # a Read
        twin = names.setdefault(name, step)
        if twin is not step:
            what = f"{step.where}: two streams take the chat requests of {name!r}; the other is at {twin.where}"
            raise FlowInvalid(what, "Give one of them another name, or read the first stream twice.")
    for step in steps:
        if isinstance(step.spec, ModelStep) and step.spec.model in names:
            what = f"{step.where}: the flow asks the model {step.spec.model!r}, which is the flow itself"
            raise FlowInvalid(what, "Give the chat stream another name than the model.", param="model")


def _check_on_way(step: Step, on_way: set[str]) -> None:
    if not isinstance(step.spec, _ONE_BY_ONE):
        raise FlowInvalid(
            f"{step.where}: {step.name!r} is between from_chat and reply, and of what it gives nobody could tell which "
            "request it answers",
            "Let it read from the chat stream beside the way to reply, or use map, filter, flat_map, map_async or a "
            "model step.",
        )
    if isinstance(step.spec, Waiting) and step.spec.dedup:
        raise FlowInvalid(
            f"{step.where}: chat requests share no call: each ends with its caller", "Leave dedup away.", param="dedup"
        )
    if isinstance(step.spec, Waiting) and step.spec.cache is not None:
        raise FlowInvalid(
            f"{step.where}: what chat requests are answered is kept in no cache", "Leave cache away.", param="cache"
        )
    others = [name for name in step.inputs if name not in on_way]
    if others:
        what = f"{step.where}: union puts {others[0]!r}, whose records are no chat requests, before a reply"
        raise FlowInvalid(what, "Put together only what comes of chat requests.")


def _with_role(
    step: Step, on_way: set[str], readers: Mapping[str, tuple[Step, ...]], num_ways: Mapping[str, int]
) -> Step:
    if step.name not in on_way:
        return replace(step, turns=TurnRole.LEAVES) if not on_way.isdisjoint(step.inputs) else step
    if isinstance(step.spec, Read) and isinstance(step.spec.source, ChatSource):
        source = replace(step.spec.source, num_ways=num_ways[step.name])
        return replace(
            step, spec=replace(step.spec, source=source), turns=TurnRole.ON_WAY, num_ways=num_ways[step.name]
        )
    role = TurnRole.SPEAKS if _speaks(step, readers) else TurnRole.ON_WAY
    takes_policy = not isinstance(step.spec, Union)
    on_error = OnError.DEAD_LETTER if takes_policy else step.on_error
    return replace(step, turns=role, num_ways=num_ways[step.name], on_error=on_error)


def _speaks(step: Step, readers: Mapping[str, tuple[Step, ...]]) -> bool:
    """Say whether what the model says is the reply, so that it can be sent as it comes."""
    reply = _only_reader(step, readers)
    while reply is not None and isinstance(reply.spec, Union):
        reply = _only_reader(reply, readers)
    if not isinstance(step.spec, Generate) or reply is None or not isinstance(reply.spec, Reply):
        return False
    into, text = step.spec.into, reply.spec.text
    return (into is None and text in (None, "{}")) or (isinstance(into, str) and text in (into, f"{{{into}}}"))


def _only_reader(step: Step, readers: Mapping[str, tuple[Step, ...]]) -> Step | None:
    found = readers[step.name]
    return found[0] if len(found) == 1 else None
