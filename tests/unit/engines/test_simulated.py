"""The simulated engine in virtual time: its cost model is what passes."""

from dataclasses import replace

import pytest

from cluster.serving.engines.adapter_options import AdapterOptions
from cluster.serving.engines.cost import CPU2, H100, PROFILES, CostModel
from cluster.serving.engines.simulated import NUM_TOKENS_UNASKED, SimulatedEngine
from sage.base.clock import ManualClock
from sage.base.ids import EngineId, RequestId
from sage.base.inference import EmbedRequest, Finished, GenerateRequest, Kind, Reply, Sampling, Token


def _engine(clock: ManualClock, cost: CostModel = CPU2, context_tokens: int | None = None) -> SimulatedEngine:
    return SimulatedEngine(EngineId("e"), "sim", cost, clock, context_tokens=context_tokens)


def _run(engine: SimulatedEngine, clock: ManualClock) -> list[tuple[float, Reply]]:
    came: list[tuple[float, Reply]] = []
    while (due_s := engine.due_in_s()) is not None:
        clock.advance(due_s)
        came += [(clock.monotonic_s(), reply) for reply in engine.step()]
    return came


def _ask(name: str, prompt_tokens: int, max_tokens: int | None) -> GenerateRequest:
    return GenerateRequest(RequestId(name), "sim", "abcd" * prompt_tokens, Sampling(max_tokens=max_tokens))


def test_a_request_alone_takes_its_prefill_and_its_decoding() -> None:
    clock = ManualClock()
    engine = _engine(clock)
    engine.add([_ask("a", 100, 3)])
    times = [at_s for at_s, reply in _run(engine, clock) if isinstance(reply, Token)]
    prefill_s = (CPU2.iteration_ms(64, 0, ()) + CPU2.iteration_ms(36, 0, ())) / 1000
    assert times == pytest.approx([prefill_s, prefill_s + 0.012, prefill_s + 0.024])


def test_eight_sequences_share_their_iterations() -> None:
    clock = ManualClock()
    engine = _engine(clock)
    engine.add([_ask(f"r{n}", 8, 101) for n in range(8)])
    _run(engine, clock)
    assert clock.monotonic_s() == pytest.approx((CPU2.iteration_ms(64, 0, ()) + 100 * 23.7) / 1000)


def test_no_more_than_max_running_are_in_a_batch() -> None:
    clock = ManualClock()
    engine = _engine(clock)
    engine.add([_ask(f"r{n}", 1, 10) for n in range(CPU2.max_running + 1)])
    ended = [reply.request_id for _, reply in _run(engine, clock) if isinstance(reply, Finished)]
    assert ended[-1] == f"r{CPU2.max_running}"
    assert len(ended) == CPU2.max_running + 1


def test_two_runs_are_the_same_to_the_last_reply() -> None:
    def run() -> list[tuple[float, Reply]]:
        clock = ManualClock()
        engine = _engine(clock, H100)
        texts = EmbedRequest(RequestId("t"), "sim", ("one", "two"))
        engine.add([_ask("a", 5000, 20), texts, _ask("b", 10, None)])
        return _run(engine, clock)

    assert run() == run()


def test_an_answer_without_max_tokens_ends_by_itself() -> None:
    clock = ManualClock()
    engine = _engine(clock)
    engine.add([_ask("a", 5, None)])
    last = _run(engine, clock)[-1][1]
    assert isinstance(last, Finished)
    assert (last.reason, last.usage.completion_tokens) == ("stop", NUM_TOKENS_UNASKED)


def test_an_answer_without_max_tokens_fills_a_small_context_and_no_more() -> None:
    clock = ManualClock()
    engine = _engine(clock, context_tokens=20)
    engine.add([_ask("a", 5, None)])
    last = _run(engine, clock)[-1][1]
    assert isinstance(last, Finished)
    assert (last.reason, last.usage.completion_tokens) == ("length", 15)


def test_a_late_driver_does_not_slow_the_engine_down() -> None:
    clock = ManualClock()
    engine = _engine(clock)
    engine.add([_ask("a", 1, 50)])
    engine.step()
    clock.advance(10.0)
    came = _run(engine, clock)
    assert {at_s for at_s, _ in came} == {10.0}
    assert len([reply for _, reply in came if isinstance(reply, Token)]) == 50


def test_an_idle_engine_is_due_never_and_does_nothing() -> None:
    engine = _engine(ManualClock())
    assert engine.due_in_s() is None
    assert not engine.has_work()
    assert engine.step() == []


@pytest.mark.parametrize("cost", PROFILES, ids=lambda cost: cost.name)
def test_more_work_never_costs_less(cost: CostModel) -> None:
    decoding = [cost.iteration_ms(0, num, ()) for num in range(cost.max_running + 1)]
    assert decoding == sorted(decoding)
    assert cost.iteration_ms(10, 0, ()) < cost.iteration_ms(11, 0, ()) <= cost.iteration_ms(11, 2, ())
    assert cost.iteration_ms(0, 4, (10,)) < cost.iteration_ms(0, 4, (10, 10)) < cost.iteration_ms(0, 4, (10, 200))


def _adapted(clock: ManualClock, num_slots: int, max_running: int = 32) -> SimulatedEngine:
    options = AdapterOptions((("a", ""), ("b", ""), ("c", "")), num_slots)
    return SimulatedEngine(EngineId("e"), "sim", replace(CPU2, max_running=max_running), clock, adapters=options)


def _ask_of(model: str, name: str) -> GenerateRequest:
    return GenerateRequest(RequestId(name), model, "abcd" * 8, Sampling(max_tokens=2))


def test_an_adapter_that_is_in_no_slot_costs_its_loading_once() -> None:
    clock = ManualClock()
    engine = _adapted(clock, 2, max_running=1)
    took_s: list[float] = []
    for number, model in enumerate(("sim", "a", "a", "b", "a", "c", "b")):
        began_s = clock.monotonic_s()
        engine.add([_ask_of(model, str(number))])
        _run(engine, clock)
        took_s.append(clock.monotonic_s() - began_s - took_s[0] if took_s else clock.monotonic_s())
    load_s = CPU2.adapter_load_ms / 1000
    assert took_s[1:] == pytest.approx([load_s, 0.0, load_s, 0.0, load_s, load_s]), "c drives b out"


def test_what_asks_for_another_adapter_waits_while_all_slots_are_at_work() -> None:
    clock = ManualClock()
    engine = _adapted(clock, 1)
    engine.add([_ask_of(*each) for each in (("a", "a1"), ("b", "b1"), ("a", "a2"), ("sim", "s"))])
    ended = [(at_s, reply.request_id) for at_s, reply in _run(engine, clock) if isinstance(reply, Finished)]
    assert [name for _, name in ended] == ["a1", "a2", "s", "b1"]
    assert ended[2][0] < ended[3][0]


def test_adapters_are_models_with_a_parent() -> None:
    info = _adapted(ManualClock(), 2).info()
    assert info.adapters == ("a", "b", "c")
    assert {card.parent for card in info.models} == {None, "sim"}
    assert info.adapter_slots == 2
    assert info.card("a", Kind.CHAT) is not None
    assert info.card("a", Kind.EMBED) is None
