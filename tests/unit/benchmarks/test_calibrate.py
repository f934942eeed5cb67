"""Costs fitted to what a server was seen to take: tables, full engines, and how far a simulation is off."""

import json
from dataclasses import replace

import pytest

from benchmarks.calibrate import measure_calibration, simulated_beside
from benchmarks.calibrate_fit import Together, fitted_to, trace_seen
from benchmarks.calibrate_wanted import CalibrateWanted
from benchmarks.policies_wanted import TraceName
from benchmarks.replay_figures import ReplayedCall, ReplayPlace, replay_result
from benchmarks.replay_wanted import ReplayWanted
from benchmarks.simulator.arrival import Arrival
from sage.base.errors import RequestFailed
from sage.base.inference import Usage
from tests.unit.engines.scripted_server import events, http, scripted_server

CHUNK_TOKENS = 100
PLACE = ReplayPlace("openai", "generated", "m", "http://h/v1", 1.0, False)


def answered(at_s: float, first_s: float, end_s: float, *, prompt: int = 100, tokens: int = 11) -> ReplayedCall:
    arrival = Arrival(at_s, prompt, tokens, blocks=(1, 2))
    return ReplayedCall(arrival, sent_s=at_s, piece_s=[first_s], end_s=end_s, usage=Usage(prompt, tokens, 20))


def together(asked: int, num_first: int, token_s: float) -> Together:
    """`num_first` begin at once, the others when those have ended."""
    calls = [answered(0.0, 0.1, 0.1 + 10 * token_s) for _ in range(num_first)]
    return Together(asked, (*calls, *(answered(0.0, 9.0, 9.5) for _ in range(asked - num_first))))


def test_an_engine_that_begins_fewer_than_asked_has_so_many_places() -> None:
    rising = [together(1, 1, 0.01), together(2, 2, 0.02), together(4, 4, 0.03), together(8, 4, 0.03)]
    costs = fitted_to([(100, 0.2), (200, 0.3)], rising, "m", chunk_tokens=CHUNK_TOKENS).costs
    assert costs.max_running == 4
    assert [number for number, _ in costs.decode_ms] == [1, 2, 4, 8]
    fewer = fitted_to([(100, 0.2)], rising[:3], "m", chunk_tokens=CHUNK_TOKENS)
    assert fewer.costs.max_running == 4


def test_a_token_never_gets_faster_with_more_sequences_and_too_short_answers_tell_nothing() -> None:
    rising = [together(1, 1, 0.02), together(2, 2, 0.01), Together(4, (answered(0.0, 0.1, 0.2, tokens=2),))]
    fitted = fitted_to([(100, 0.2)], rising, "m", chunk_tokens=CHUNK_TOKENS)
    assert fitted.costs.decode_ms == ((1, 20.0), (2, 20.0))


def test_answers_that_are_all_too_short_are_not_fitted() -> None:
    short = Together(1, (answered(0.0, 0.1, 0.2, tokens=2),))
    with pytest.raises(RequestFailed, match="fewer than 4 tokens"):
        fitted_to([(100, 0.2)], [short], "m", chunk_tokens=CHUNK_TOKENS)


def test_where_nothing_of_the_trace_is_answered_no_error_is_given() -> None:
    costs = fitted_to([(80, 0.1)], [together(1, 1, 0.01)], "m", chunk_tokens=80)
    calls = [ReplayedCall(Arrival(0.5, 10, 10), end_s=1.0, why="Overloaded")]
    with pytest.raises(RequestFailed, match=r"none of 1 requests of generated: {'Overloaded': 1}"):
        simulated_beside(PLACE, costs, replay_result(PLACE, calls, 1.0), calls)


def counted(prompt_tokens: int) -> bytes:
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": 1}
    piece = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "length"}]}
    return events(json.dumps(piece), json.dumps({"choices": [], "usage": usage}), "[DONE]")


def test_a_server_that_refuses_some_of_those_at_once_is_not_fitted_by_the_others() -> None:
    wanted = CalibrateWanted(ReplayWanted(TraceName.GENERATED, "", "m", limit=2), 2, 128, 1)
    refused = http(b'{"error": {"message": "too many"}}', status=429)
    with scripted_server() as server:
        server.answers["/v1/models"] = [http(b'{"object":"list","data":[{"id":"m","max_model_len":1000}]}')]
        answers = [counted(42), counted(106), *[counted(64)] * 4, *[counted(42)] * 3, refused]
        server.answers["/v1/chat/completions"] = answers
        with pytest.raises(RequestFailed, match=r"(?s)failed 1 of 2 requests at once: Overloaded.*--max-sequences"):
            measure_calibration(replace(wanted, replay=replace(wanted.replay, url=server.url)), print)


def test_a_line_through_prompts_is_never_below_zero() -> None:
    falling = fitted_to([(100, 0.3), (200, 0.2)], [together(1, 1, 0.01)], "m", chunk_tokens=CHUNK_TOKENS)
    assert (falling.costs.prefill_token_ms, round(falling.overhead_ms)) == (0.0, 250)
    steep = fitted_to([(100, 0.1), (200, 0.3)], [together(1, 1, 0.01)], "m", chunk_tokens=CHUNK_TOKENS)
    assert (round(steep.costs.prefill_token_ms, 6), steep.overhead_ms) == (1.9, 0.0)


def test_what_was_cached_or_failed_is_not_simulated() -> None:
    failed = ReplayedCall(Arrival(0.5, 10, 10), end_s=1.0, why="Overloaded")
    trace = trace_seen("t", [answered(0.0, 0.1, 0.2), failed, answered(1.0, 1.1, 1.3)])
    assert [(each.at_s, each.prompt_tokens, each.answer_tokens) for each in trace.arrivals] == [
        (0, 80, 11),
        (1, 80, 11),
    ]
    assert trace.arrivals[0].blocks == ()


def test_a_server_that_is_as_its_costs_say_is_foretold() -> None:
    costs = fitted_to([(80, 0.1), (160, 0.2)], [together(1, 1, 0.01)], "m", chunk_tokens=80)
    calls = [answered(float(n), n + 0.1, n + 0.2) for n in range(20)]  # 80 tokens not cached, then ten of 10 ms
    result = simulated_beside(PLACE, costs, replay_result(PLACE, calls, 19.2), calls)
    assert (result.simulated, result.checked, result.n) == (True, True, 20)
    assert result.ttft_p50_error < 0.01
    assert result.tokens_per_s_error < 0.01
    slow = [answered(float(n), n + 0.2, n + 0.3) for n in range(20)]
    assert simulated_beside(PLACE, costs, replay_result(PLACE, slow, 19.3), slow).ttft_p50_error == 0.5
