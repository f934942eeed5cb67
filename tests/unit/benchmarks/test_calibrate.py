"""Costs fitted to what a server was seen to take: found again, and how far a simulation with them is off."""

import json
from dataclasses import astuple, replace
from itertools import takewhile

import pytest

from benchmarks.calibrate import measure_calibration, simulated_beside
from benchmarks.calibrate_fit import (
    ASSUMED_BLOCK_TOKENS,
    Fitted,
    Prompted,
    block_tokens_of,
    fitted_prompts,
    fitted_to,
    looks_early,
    num_begun,
    token_s,
)
from benchmarks.calibrate_pace import foretold, paces_of
from benchmarks.calibrate_parts import TracePart, kept_blocks, parts_of, simulated, work_s
from benchmarks.calibrate_probe import Probed, Together
from benchmarks.calibrate_wanted import CalibrateWanted
from benchmarks.policies_wanted import TraceName
from benchmarks.replay_figures import ReplayedCall, ReplayPlace, replay_result
from benchmarks.replay_prompts import TokenRate, prompt_of
from benchmarks.replay_wanted import ReplayWanted
from benchmarks.simulator.arrival import Arrival, Trace
from cluster.serving.engines.cost import CPU2
from sage.base.errors import RequestFailed
from sage.base.inference import Usage
from tests.unit.benchmarks.looked_at import kept, look_at
from tests.unit.engines.scripted_server import events, http, scripted_server

CHUNK_TOKENS = 100
PLACE = ReplayPlace("openai", "generated", "m", "http://h/v1", 1.0, False)
RATE = TokenRate(1.0, 0.0)
COSTS = replace(CPU2, decode_context_ms=3.0)


def answered(at_s: float, first_s: float, end_s: float, *, prompt: int = 100, tokens: int = 11) -> ReplayedCall:
    arrival = Arrival(at_s, prompt, tokens)
    return ReplayedCall(arrival, sent_s=at_s, piece_s=[first_s, end_s], end_s=end_s, usage=Usage(prompt, tokens))


def together(asked: int, num_first: int, token_s: float) -> Together:
    """`num_first` begin at once, the others when those have ended."""
    calls = [answered(0.0, 0.1, 0.1 + 10 * token_s) for _ in range(num_first)]
    return Together(asked, (*calls, *(answered(0.0, 9.0, 9.5) for _ in range(asked - num_first))))


def look(*rising: Together) -> Probed:
    prompts = (answered(0.0, 0.2, 0.2, prompt=100, tokens=1), answered(0.0, 0.3, 0.3, prompt=200, tokens=1))
    return Probed(prompts, prompts, prompts, rising, rising[0])


def fitted_by(*rising: Together) -> Fitted:
    return fitted_to([look(*rising)], "m", chunk_tokens=CHUNK_TOKENS)


def test_the_costs_of_an_engine_are_found_again_whatever_the_speed_of_the_machine() -> None:
    looks = [look_at(COSTS, slower=slower) for slower in (1.0, 2.0, 1.0, 0.5, 1.0)]
    fitted = fitted_to(looks, "m", chunk_tokens=CPU2.chunk_tokens)
    found = fitted.costs
    assert found.prefill_fixed_ms == pytest.approx(CPU2.prefill_fixed_ms, rel=0.1)
    assert found.prefill_token_ms == pytest.approx(CPU2.prefill_token_ms, rel=0.1)
    for number, each_ms in found.decode_ms:
        assert each_ms == pytest.approx(CPU2.iteration_ms(0, number, ()), rel=0.15)
    assert found.decode_context_ms == pytest.approx(COSTS.decode_context_ms, rel=0.3)
    assert (found.max_running, fitted.block_tokens) == (32, 0)
    assert fitted.slowness == pytest.approx((1.0, 2.0, 1.0, 0.5, 1.0), rel=0.01)


def test_an_engine_that_begins_fewer_than_asked_has_so_many_places() -> None:
    rising = [together(1, 1, 0.01), together(2, 2, 0.02), together(4, 4, 0.03), together(8, 4, 0.03)]
    costs = fitted_by(*rising).costs
    assert costs.max_running == 4
    assert [number for number, _ in costs.decode_ms] == [1, 2, 4, 8]
    assert fitted_by(*rising[:3]).costs.max_running == 4
    assert [num_begun(each) for each in rising] == [1, 2, 4, 4]


def test_a_token_never_gets_faster_with_more_sequences_and_too_short_answers_tell_nothing() -> None:
    rising = [together(1, 1, 0.02), together(2, 2, 0.01), Together(4, (answered(0.0, 0.1, 0.2, tokens=2),))]
    assert fitted_by(*rising).costs.decode_ms == ((1, 20.0), (2, 20.0))


def test_answers_that_are_all_too_short_are_not_fitted() -> None:
    short = Together(1, (answered(0.0, 0.1, 0.2, tokens=2),))
    with pytest.raises(RequestFailed, match="fewer than 4 tokens"):
        fitted_by(short)


def test_tokens_are_timed_while_all_are_at_it_not_while_prompts_are_read_beside() -> None:
    early = answered(0.0, 0.0, 0.0, tokens=15)
    early.piece_s = [0.1 * n for n in range(5)] + [0.5 + 0.01 * n for n in range(10)]
    early.end_s = early.piece_s[-1]
    late = answered(0.0, 0.0, 0.0, tokens=20)
    late.piece_s = [0.5 + 0.01 * n for n in range(20)]
    late.end_s = late.piece_s[-1]
    assert token_s(Together(2, (early, late))) == pytest.approx(0.01)


def test_prompts_cost_nothing_below_zero() -> None:
    falling = [Prompted(50, 0.3), Prompted(90, 0.2)]
    costs = fitted_prompts(falling, 0.01, chunk_tokens=CHUNK_TOKENS)
    assert (costs.piece_s, costs.token_s, costs.before_token_s) == (0.01, 0.0, 0.0)
    assert 0.2 < costs.start_s + costs.piece_s < 0.3
    steep = fitted_prompts([Prompted(50, 0.1), Prompted(90, 0.3)], 0.01, chunk_tokens=CHUNK_TOKENS)
    assert min(astuple(steep)) == 0.0 < max(astuple(steep))


@pytest.mark.parametrize("chunk_tokens", [64, 2048])
def test_what_stands_before_a_token_of_a_prompt_costs_whether_it_is_kept_or_worked_off(chunk_tokens: int) -> None:
    costs = replace(CPU2, prefill_context_ms=0.5, decode_context_ms=0.5, chunk_tokens=chunk_tokens)
    fitted = fitted_to([look_at(costs)], "m", chunk_tokens=chunk_tokens).costs
    assert fitted.prefill_context_ms == pytest.approx(0.5, rel=0.1)
    assert fitted.prefill_token_ms == pytest.approx(CPU2.prefill_token_ms, rel=0.1)
    fresh = [Prompted(num, 0.01 + 0.001 * num) for num in (40, 80, 160)]
    kept_before = fitted_prompts([*fresh, Prompted(100, 0.16, 950)], 0.01, chunk_tokens=2048)
    assert kept_before.before_token_s * 100 * 1_000 == pytest.approx(0.05, rel=0.1)


def test_what_is_kept_of_prompts_is_known_by_what_the_server_says_or_by_its_haste() -> None:
    seen = look_at(CPU2, lengths=(100, 200, 400), most=1)
    assert block_tokens_of([seen]) == 0
    hasty = replace(seen, again=kept(seen.again, None, 0.01))
    assert block_tokens_of([hasty]) == ASSUMED_BLOCK_TOKENS
    told = replace(seen, again=(*kept(seen.again[:1], 96, 0.01), *kept(seen.again[1:], 192, 0.01)))
    assert block_tokens_of([told]) == 96


def test_whether_equal_prompts_that_come_at_once_are_both_worked_off_is_seen() -> None:
    seen = look_at(CPU2, lengths=(100, 200, 400), most=1)
    assert looks_early([seen])
    assert not looks_early([replace(seen, twice=(answered(0.0, 0.2, 0.2), answered(0.0, 0.21, 0.21)))])


def test_a_block_that_the_template_leaves_no_room_for_is_not_shared() -> None:
    rate = TokenRate(1.0, 30.0)
    arrivals = [Arrival(0.0, 153, 1, (1, 2, last), 51) for last in (3, 4)]
    prompts = (prompt_of(arrival, number, rate, seed=7).split() for number, arrival in enumerate(arrivals))
    shared = takewhile(lambda both: both[0] == both[1], zip(*prompts, strict=True))
    assert 2 * 51 <= len(list(shared)) < 2 * 51 + 16
    kept_of = [kept_blocks(arrival, rate, 16) for arrival in arrivals]
    assert kept_of[0] == kept_of[1]
    assert len(kept_of[0]) == (30 + 2 * 51) // 16


def test_where_nothing_of_the_trace_is_answered_no_error_is_given() -> None:
    calls = [ReplayedCall(Arrival(0.5, 10, 10), end_s=1.0, why="Overloaded")]
    seen = replay_result(PLACE, calls, 1.0)
    with pytest.raises(RequestFailed, match=r"none of 1 requests of generated: {'Overloaded': 1}"):
        simulated_beside(PLACE, Fitted(CPU2, 0.0), seen, [TracePart(tuple(calls), 1.0)], RATE, load=0.5)


def counted(prompt_tokens: int) -> bytes:
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": 1}
    piece = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "length"}]}
    return events(json.dumps(piece), json.dumps({"choices": [], "usage": usage}), "[DONE]")


def test_a_server_that_refuses_some_of_those_at_once_is_not_fitted_by_the_others() -> None:
    asked = ReplayWanted(TraceName.GENERATED, "", "m", limit=2)
    wanted = CalibrateWanted(asked, 0.5, max_sequences=2, max_prompt_tokens=128, num_rounds=1)
    refused = http(b'{"error": {"message": "too many"}}', status=429)
    with scripted_server() as server:
        server.answers["/v1/models"] = [http(b'{"object":"list","data":[{"id":"m","max_model_len":1000}]}')]
        to_warm_up, prompts = [counted(64)] * (3 + 6), [counted(64)] * (2 * 6 + 2)
        answers = [counted(42), counted(106), *to_warm_up, *prompts, *[counted(42)] * 2, refused]
        server.answers["/v1/chat/completions"] = answers
        with pytest.raises(RequestFailed, match=r"(?s)failed 1 of 2 requests at once: Overloaded.*--max-sequences"):
            measure_calibration(replace(wanted, replay=replace(wanted.replay, url=server.url)), print)


def test_a_trace_is_cut_into_parts_that_all_begin_at_once_and_lose_nothing() -> None:
    trace = Trace("t", tuple(Arrival(float(n), 10, 1) for n in range(7)))
    parts = parts_of(trace, 3)
    assert [[arrival.at_s for arrival in part.arrivals] for part in parts] == [[0, 1, 2], [0, 1, 2], [0]]
    assert sum(len(part.arrivals) for part in parts_of(trace, 10)) == 7


def test_what_failed_is_not_simulated_and_what_is_kept_is_found_again() -> None:
    failed = ReplayedCall(Arrival(0.5, 10, 10), end_s=1.0, why="Overloaded")
    one = replace(answered(0.0, 0.1, 0.2).arrival, blocks=(1, 2), block_tokens=50)
    calls = [answered(0.0, 0.1, 0.2), failed, answered(9.0, 9.1, 9.3)]
    calls = [replace(call, arrival=replace(call.arrival, blocks=one.blocks, block_tokens=50)) for call in calls]
    parts = [TracePart(tuple(calls), 9.3)]
    whole = simulated("t", parts, Fitted(CPU2, 0.0), RATE)
    halved = simulated("t", parts, Fitted(CPU2, 0.0, block_tokens=50), RATE)
    assert (whole.num_offered, halved.num_offered) == (2, 2)
    assert halved.ttft_p99_ms == whole.ttft_p99_ms  # the first was not kept before
    assert halved.e2e_p50_ms == whole.e2e_p50_ms
    trace = Trace("t", tuple(call.arrival for call in calls if call.why is None))
    assert work_s(trace, Fitted(CPU2, 0.0, 50), RATE) < work_s(trace, Fitted(CPU2, 0.0), RATE)


def test_a_server_that_is_as_its_costs_say_is_foretold() -> None:
    costs = replace(CPU2, prefill_fixed_ms=10.0, prefill_token_ms=0.9, decode_ms=((1, 10.0),), chunk_tokens=100)
    calls = [answered(float(n), n + 0.1, n + 0.2) for n in range(20)]  # 100 tokens, then ten of 10 ms
    parts = [TracePart(tuple(calls), 19.2)]
    result = simulated_beside(PLACE, Fitted(costs, 0.0), replay_result(PLACE, calls, 19.2), parts, RATE, load=0.2)
    assert (result.simulated, result.checked, result.n) == (True, True, 20)
    assert result.ttft_p50_error < 0.01
    assert result.tokens_per_s_error < 0.01
    slow = [answered(float(n), n + 0.2, n + 0.3) for n in range(20)]
    seen = replay_result(PLACE, slow, 19.3)
    late = simulated_beside(PLACE, Fitted(costs, 0.0), seen, [TracePart(tuple(slow), 19.3)], RATE, load=0.2)
    assert late.ttft_p50_error == 0.5
    slowed = [TracePart(tuple(slow), 19.3, slowness=2.0)]
    known = simulated_beside(PLACE, Fitted(costs, 0.0), seen, slowed, RATE, load=0.2)
    assert known.ttft_p50_error < 0.01


def paced(pace: float) -> TracePart:
    """A part on a server that takes `pace` times 100 ms for each prompt and 10 for each token."""
    calls = [answered(3.0 * n, 3.0 * n + 0.1 * pace, 3.0 * n + 0.2 * pace) for n in range(9)]
    return TracePart(tuple(calls), 24.0 + 0.2 * pace)


def test_how_slow_the_machine_was_in_a_part_is_found_whatever_it_was_in_others() -> None:
    costs = replace(CPU2, prefill_fixed_ms=10.0, prefill_token_ms=0.9, decode_ms=((1, 10.0),), chunk_tokens=100)
    failed = TracePart((ReplayedCall(Arrival(0.5, 10, 10), end_s=1.0, why="Overloaded"),), 1.0)
    found = paces_of("t", [paced(1.0), paced(2.0), failed, paced(0.6)], Fitted(costs, 0.0), RATE)
    assert found[2] is None
    assert [each for each in found if each is not None] == pytest.approx([1.0, 2.0, 0.6], rel=0.02)


def test_a_part_is_foretold_by_the_parts_next_to_it_and_not_by_its_own_pace() -> None:
    assert foretold([4.0, 1.0, 9.0, None, 4.0], [2.0] * 5) == pytest.approx([1.0, 6.0, 1.0, 6.0, 2.0])
    assert foretold([8.0, 1.0], [2.0] * 2) == pytest.approx([1.0, 8.0])
