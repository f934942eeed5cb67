"""Texts that are embedded beside chat on one simulated device."""

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from benchmarks.mix import TextsBeside, texts_from_text
from benchmarks.policies import measure_policies
from benchmarks.policies_wanted import PoliciesWanted, Profile, Sharing, Shedding, TextsWanted, TraceName
from benchmarks.policy_result import PolicyResult
from benchmarks.simulator.arrival import TEXT_TOKENS, Arrival, Trace
from benchmarks.simulator.contention import contention_of
from benchmarks.simulator.device import DeviceModel
from benchmarks.simulator.engine import EngineModel
from benchmarks.simulator.outcome import Outcome
from benchmarks.simulator.run import Replayed, Setup, replay
from benchmarks.simulator.texts import SIMULATED_MODES, TextsModel
from cluster.serving.engines.cost import CPU2, H100
from cluster.serving.sharing import MAX_HELD_S, SharingMode
from sage.base.clock import SystemClock
from sage.base.errors import ConfigInvalid
from sage.base.ids import RequestId
from sage.base.inference import ServiceClass

_ANSWER_TOKENS = 24
_MEASURED = Path(__file__).parents[4] / "benchmarks" / "results" / "cosched.json"


def device(mode: SharingMode) -> DeviceModel:
    chat = EngineModel(CPU2, kv_tokens=100_000)
    return DeviceModel(chat, TextsModel(chat, CPU2, contention_of("cpu2"), mode))


def text(tokens: int, service_class: ServiceClass = ServiceClass.STANDARD) -> Arrival:
    return Arrival(0.0, tokens, 0, texts=(tokens,), service_class=service_class)


def chat(per_s: float, duration_s: float, seed: int = 1) -> Trace:
    """Return prompts of 25 to 200 tokens, as `cosched` asks them."""
    rng, at_s, arrivals = Random(seed), 0.0, []
    while (at_s := at_s + rng.expovariate(per_s)) < duration_s:
        arrivals.append(Arrival(at_s, rng.choice((25, 50, 100, 200)), _ANSWER_TOKENS))
    return Trace("chat", tuple(arrivals))


def setup(mode: SharingMode = SharingMode.GATED) -> Setup:
    return Setup("hybrid", "auto", "none", 1, CPU2, sharing=mode)


def with_texts(trace: Trace, per_s: float, service_class: ServiceClass = ServiceClass.STANDARD) -> Trace:
    return trace.with_texts(per_s, service_class=service_class, seed=3)


def ends_s(box: DeviceModel) -> list[tuple[str, float]]:
    """Go on until nothing is left to do; return what ended, and when."""
    found: list[tuple[str, float]] = []
    while (now_s := box.next_s()) != float("inf"):
        happened = box.advance(now_s)
        found += [(each.id, round(now_s, 6)) for each in happened.ended]
        found += [(each.id, round(now_s, 6)) for each in happened.embedded]
    return found


def test_texts_alone_take_a_worker_each() -> None:
    box = device(SharingMode.GATED)
    for number in range(3):
        box.add(RequestId(str(number)), text(1_000), 0.0)  # more than a micro-batch has room for
    each_s = CPU2.text_ms(1_000) / 1e3
    assert ends_s(box) == [("0", round(each_s, 6)), ("1", round(each_s, 6)), ("2", round(2 * each_s, 6))]


def test_a_text_waits_until_a_prompt_is_read_but_no_longer_than_it_may() -> None:
    prompt = Arrival(0.0, 640, 1)  # ten iterations
    read_s = 10 * CPU2.iteration_ms(64, 0, ()) / 1e3
    assert MAX_HELD_S[ServiceClass.INTERACTIVE] < read_s < MAX_HELD_S[ServiceClass.STANDARD]
    ends = {}
    for service_class in (ServiceClass.STANDARD, ServiceClass.INTERACTIVE):
        box = device(SharingMode.GATED)
        box.add(RequestId("prompt"), prompt, 0.0)
        box.add(RequestId("text"), text(100, service_class), 0.0)
        ends[service_class] = dict(ends_s(box))
    text_s, both = CPU2.text_ms(100) / 1e3, contention_of("cpu2").at_par[0]
    standard, interactive = ends[ServiceClass.STANDARD], ends[ServiceClass.INTERACTIVE]
    assert standard == {"prompt": pytest.approx(read_s), "text": pytest.approx(read_s + text_s)}
    assert interactive["text"] == pytest.approx(MAX_HELD_S[ServiceClass.INTERACTIVE] + text_s / both.rate)
    slowed_s = text_s / both.rate
    assert interactive["prompt"] == pytest.approx(read_s + slowed_s - slowed_s / both.read)


def test_a_worker_of_chats_priority_slows_its_steps_while_it_works() -> None:
    box = device(SharingMode.PINNED)
    box.add(RequestId("chat"), Arrival(0.0, 1, 101), 0.0)
    first_s = box.next_s()
    assert [each.id for each in box.advance(first_s).first] == ["chat"]
    box.add(RequestId("text"), text(100), first_s)
    text_s, beside = CPU2.text_ms(100) / 1e3, contention_of("cpu2").at_par[0]
    alone_s = 100 * CPU2.iteration_ms(0, 1, ()) / 1e3
    ends = dict(ends_s(box))
    assert ends["text"] == pytest.approx(first_s + text_s / beside.rate)
    lost_s = text_s / beside.rate * (1 - 1 / beside.decode)
    assert ends["chat"] == pytest.approx(first_s + alone_s + lost_s)


def test_a_text_given_up_is_not_answered_and_leaves_its_place() -> None:
    box = device(SharingMode.GATED)
    jobs = [box.add(RequestId(str(number)), text(1_000), 0.0) for number in range(3)]
    box.cancel(jobs[2], 0.0)
    assert [name for name, _ in ends_s(box)] == ["0", "1"]


@pytest.mark.parametrize("mode", SIMULATED_MODES)
def test_every_request_ends_once_with_texts_beside_chat(mode: SharingMode) -> None:
    run = replay(with_texts(chat(4.0, 15.0), 60.0), setup(mode))
    assert all(outcome.why is None and outcome.end_s is not None for outcome in run.outcomes)
    assert run == replay(with_texts(chat(4.0, 15.0), 60.0), setup(mode))


def test_texts_of_batch_cost_chat_less_when_gated_than_when_nothing_holds_them_back() -> None:
    trace = with_texts(chat(4.0, 20.0), 200.0, ServiceClass.BATCH)
    gated, off = (_per_token_s(replay(trace, setup(mode))) for mode in (SharingMode.GATED, SharingMode.OFF))
    assert _per_token_s(replay(chat(4.0, 20.0), setup())) < gated < 0.6 * off


def _per_token_s(run: Replayed) -> float:
    times = sorted(each for outcome in run.parted()[0].outcomes if (each := outcome.per_token_s) is not None)
    return times[len(times) // 2]


def test_what_is_not_simulated_is_refused() -> None:
    with pytest.raises(ConfigInvalid, match="alternating"):
        device(SharingMode.ALTERNATING)
    with pytest.raises(ConfigInvalid, match="h100"):
        replay(with_texts(chat(1.0, 2.0), 5.0), replace(setup(), costs=H100))


@pytest.mark.parametrize(
    "typed", ["standard", "standard=", "standard=nan", "standard=0", "standart=4", "40", "batch=1e9"]
)
def test_texts_that_are_typed_wrong_are_refused_with_how_to_say_them(typed: str) -> None:
    with pytest.raises(ValueError, match="standard=40"):
        texts_from_text(typed)


def test_results_have_figures_of_texts_apart_from_those_of_chat() -> None:
    plain = PoliciesWanted(
        (TraceName.GENERATED,), ("hybrid",), ("auto",), Shedding.NONE, (2,), (0.3,), Profile.CPU2, 7, 2, (), 40
    )
    beside = replace(plain, texts=TextsWanted(TextsBeside(ServiceClass.STANDARD, 5.0), Sharing.PINNED))
    (alone,), (both,) = (measure_policies(wanted, SystemClock(), str) for wanted in (plain, beside))
    assert isinstance(alone, PolicyResult)
    assert isinstance(both, PolicyResult)
    assert (alone.n, alone.sharing, alone.texts) == (40, None, None)
    assert (both.n, both.sharing) == (40, "pinned")
    assert both.texts is not None
    assert both.texts["num_texts"] > 40
    assert 0.0 < both.texts["text_p50_ms"] <= both.texts["text_p99_ms"]
    assert both.goodput_requests == pytest.approx(alone.goodput_requests, abs=0.2)
    assert "--texts standard=5 --sharing pinned" in beside.command()


def test_what_was_measured_at_a_load_that_nothing_was_fitted_to_is_foretold() -> None:
    """Shares of what chat, and embeddings, can do alone; goal: within 15 %."""
    seconds = 40.0
    chat_alone = (
        sum(_ANSWER_TOKENS for each in replay(chat(24.0, 30.0), setup()).outcomes if 3 < _end_s(each) <= 27) / 24
    )
    texts_alone = 2e3 * sum(TEXT_TOKENS) / sum(map(CPU2.text_ms, TEXT_TOKENS))
    rows = [row for row in json.loads(_MEASURED.read_text())["results"] if row["workload"] == "closed loop"]
    of = {row["mode"]: row for row in rows if row["chat_load"] == 0.5}
    per_token = of["alone"]["combined"] / of["alone"]["n"]  # alone, all that is done is chat's
    for name, mode in (("gated", SharingMode.GATED), ("pinned_apart", SharingMode.PINNED), ("nice_0", SharingMode.OFF)):
        measured_chat = of[name]["n"] * per_token
        trace = with_texts(chat(0.5 * chat_alone / _ANSWER_TOKENS, seconds), 280.0, ServiceClass.BATCH)
        run, texts = replay(trace, setup(mode)).parted()
        offered = _ANSWER_TOKENS * len(run.outcomes) / seconds / chat_alone
        told_chat = sum(_ANSWER_TOKENS for each in run.outcomes if _end_s(each) <= seconds) / seconds / chat_alone
        told_texts = (
            sum(each.arrival.prompt_tokens for each in texts if _end_s(each) <= seconds) / seconds / texts_alone
        )
        assert told_chat / offered == pytest.approx(measured_chat / of["alone"]["combined"], rel=0.15), mode
        assert told_texts == pytest.approx(of[name]["combined"] - measured_chat, rel=0.15), mode


def _end_s(outcome: Outcome) -> float:
    return outcome.end_s or 0.0


def test_texts_that_are_embedded_after_chat_has_ended_change_none_of_its_figures() -> None:
    alone = replay(chat(4.0, 10.0), setup())
    late = Arrival(10.0, 8_000, 0, texts=(500,) * 16, service_class=ServiceClass.BATCH)
    both = replay(Trace("late", (*chat(4.0, 10.0).arrivals, replace(late, at_s=alone.duration_s + 0.1))), setup())
    parted, texts = both.parted()
    assert both.duration_s > alone.duration_s + 0.1
    assert parted.duration_s == alone.duration_s
    assert parted.busy_s == pytest.approx(alone.busy_s)
    assert len(texts) == 1
