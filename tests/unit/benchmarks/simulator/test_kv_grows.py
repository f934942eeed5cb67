"""An engine that begins with more than its memory holds, and what it brings to know how much that is."""

from random import Random

import pytest

from benchmarks.simulator.arrival import Arrival, Trace
from benchmarks.simulator.engine import EngineModel
from benchmarks.simulator.run import Replayed, Setup, replay
from cluster.serving.engines.cost import CPU2, H100, CostModel
from sage.base.ids import RequestId

KV_TOKENS = 20_000  # for eight answers of 2,000 tokens


def asked(num: int, answer_tokens: tuple[int, int], every_s: float, prompt_tokens: int = 500) -> Trace:
    random = Random(3)
    return Trace(
        "long answers",
        tuple(Arrival(n * every_s, prompt_tokens, random.randint(*answer_tokens)) for n in range(num)),
    )


def run(trace: Trace, costs: CostModel, *, tells_kv: bool) -> Replayed:
    parts = "hybrid", "auto", "none", 1, costs, KV_TOKENS
    return replay(trace, Setup(*parts, prompts="adaptive", kv_grows=True, tells_kv=tells_kv))


def test_what_has_no_memory_is_stopped_worked_off_anew_and_ends_after_as_many_tokens() -> None:
    engine = EngineModel(H100, kv_tokens=3_000, kv_grows=True)
    for n in range(4):
        engine.add(RequestId(str(n)), Arrival(0.0, 500, 1_000), 0.0)
    first: list[str] = []
    ended: dict[str, float] = {}
    while not engine.is_idle:
        happened = engine.advance(now_s := engine.next_s())
        assert engine.used_tokens <= 3_000
        first += [job.id for job in happened.first]
        ended.update((job.id, now_s) for job in happened.ended)
    assert sorted(first) == sorted(ended) == ["0", "1", "2", "3"]
    assert engine.num_preempted > 0
    assert ended["0"] < ended["3"], "who came last is stopped"
    assert (engine.num_running, engine.used_tokens) == (0, 0)


@pytest.mark.parametrize("costs", [CPU2, H100])
def test_an_engine_that_tells_its_memory_stops_a_quarter_less_and_brings_as_many_tokens(costs: CostModel) -> None:
    trace = asked(64, (1_500, 2_500), 0.0)
    silent, tells = (run(trace, costs, tells_kv=tells) for tells in (False, True))
    assert all(outcome.why is None for outcome in tells.outcomes)
    assert tells.num_preempted <= 0.76 * silent.num_preempted
    assert tells.duration_s <= 1.01 * silent.duration_s


def test_first_tokens_are_foretold_better_where_memory_is_told() -> None:
    trace = asked(200, (200, 1_000), 0.5, prompt_tokens=1_000)
    silent, tells = (run(trace, H100, tells_kv=tells) for tells in (False, True))
    assert tells.forecast_errors[0] < 0.5 * silent.forecast_errors[0]
    assert tells.num_preempted < 0.3 * silent.num_preempted
