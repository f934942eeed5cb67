"""Records that are due some time after they came, in flows that ask engines by the real control plane."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

import sage
from cluster.serving.engines.cost import CPU2
from cluster.serving.plane import Plane
from sage.base.inference import Origin
from sage.testing import Pause, Scripted, rehearse
from tests.unit.local.served_flow import ServedFlow

DUE_IN_S = {"talk": 1.5, "graph": 5.0}
NUM_CALLS = {"talk": 1, "graph": 4}
EVERY_S = 2.0
COSTS = replace(CPU2, max_running=2)


def flow_of(note: Callable[[dict[str, Any]], object]) -> sage.Flow:
    """Bursts of records that want one answer soon, and of records that take four calls one after the other."""
    flow = sage.Flow("mixed")
    for kind, num in (("talk", 2), ("graph", 3)):
        script: list[Any] = []
        for burst in range(10):
            came_s = EVERY_S * burst
            script += [[{"kind": kind, "came_s": came_s, "text": "why " * 40} for _ in range(num)], Pause(EVERY_S)]
        stream = flow.from_source(Scripted(*script), due_in_s=DUE_IN_S[kind])
        for call in range(NUM_CALLS[kind]):
            into = f"answer{call}"
            stream = stream.generate(model="sim", prompt="{text}", max_tokens=24, into=into, dedup=False, ordered=False)
        stream.for_each(note)
    return flow


def served(policy: str) -> tuple[ServedFlow, int]:
    """Return the run of `flow_of`, and how many records came to their end too late."""
    ended: list[tuple[float, str]] = []
    plane = Plane(policy=policy, route="least_work")
    flow = flow_of(lambda record: ended.append((run.now_s - record["came_s"], record["kind"])))
    with ServedFlow(flow.graph(), plane, COSTS, seed=3) as run:
        run.finish()
    plane.check()
    assert len(ended) == 50
    return run, sum(took_s > DUE_IN_S[kind] for took_s, kind in ended)


@pytest.mark.parametrize("policy", ["edf", "hybrid"])
def test_fewer_records_are_late_at_the_end_of_their_calls_by_slack_than_by_arrival(policy: str) -> None:
    _, late = served(policy)
    _, late_by_arrival = served("fifo")
    assert late_by_arrival > 0
    assert late <= 0.8 * late_by_arrival


def test_all_calls_of_a_record_say_of_which_flow_step_and_record_they_are_and_when_it_is_due() -> None:
    run, _ = served("hybrid")
    origins = [request.origin for request in run.asked if request.origin is not None]
    assert len(origins) == len(run.asked) == 10 * (2 * 1 + 3 * 4)
    assert {origin.flow for origin in origins} == {"rehearsal"}
    of_record: dict[str, list[Origin]] = {}
    for origin in origins:
        of_record.setdefault(origin.record, []).append(origin)
    assert sorted(len(calls) for calls in of_record.values()) == [1] * 20 + [4] * 30
    for calls in of_record.values():
        left_s = [call.due_in_s for call in calls if call.due_in_s is not None]
        assert len({call.step for call in calls}) == len(calls) == len(left_s)
        assert left_s == sorted(left_s, reverse=True)
        assert left_s[0] == (DUE_IN_S["talk"] if len(calls) == 1 else DUE_IN_S["graph"])


def test_a_step_of_a_stream_that_is_due_at_no_time_says_who_asks() -> None:
    flow = sage.Flow("plain")
    flow.from_collection(["Why?"]).generate(model="sim", prompt="{}", max_tokens=1).named("ask").collect()
    with ServedFlow(flow.graph(), Plane(), COSTS) as run:
        run.finish()
    [request] = run.asked
    assert request.origin == Origin("rehearsal", "ask")


def test_records_are_as_due_as_they_were_after_a_crash_and_users_see_values_alone() -> None:
    flow = sage.Flow("kept")
    source = Scripted([1, 2, 3], Pause(10.0), [4])
    doubled = flow.from_source(source, due_in_s=60.0).map_async(slowly, max_in_flight=2).filter(is_no_three)
    answers = doubled.generate(model="small", prompt="{}").collect()
    with rehearse(flow, models={"small": str.upper}, checkpoints=True) as run:
        run.advance(1.0)
        run.checkpoint()
        run.crash()
        run.finish()
    assert answers.items == ["1", "2", "4"]


async def slowly(number: int) -> int:
    assert type(number) is int
    with suppress(TimeoutError):
        async with asyncio.timeout(5.0):
            await asyncio.Event().wait()
    return number


def is_no_three(number: int) -> bool:
    assert type(number) is int
    return number != 3
