"""What a replay asks of a server, and the figures it makes of the answers."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.replay import shortened
from benchmarks.replay_figures import ReplayedCall, ReplayPlace, replay_result
from benchmarks.replay_prompts import TokenRate, prompt_of
from benchmarks.simulator.arrival import Arrival, trace_of
from benchmarks.simulator.traces import generated_trace
from sage.base.inference import Usage

RATE = TokenRate(per_word=1.0, fixed=0.0)
PLACE = ReplayPlace("simulated", "t", "m", "http://h/v1", 1.0, True)


def words(arrival: Arrival, number: int = 0, rate: TokenRate = RATE) -> list[str]:
    return prompt_of(arrival, number, rate, seed=7).split()


@given(st.integers(1, 5000), st.floats(0.5, 4.0), st.floats(0.0, 30.0))
def test_a_prompt_has_the_tokens_that_the_trace_says(tokens: int, per_word: float, fixed: float) -> None:
    rate = TokenRate(per_word, fixed)
    num_words = len(words(Arrival(0.0, tokens, 1, blocks=(1, 2, 3), block_tokens=512), rate=rate))
    assert abs(num_words * per_word + fixed - tokens) <= max(per_word, fixed + per_word - tokens)


def test_prompts_have_in_common_just_what_the_trace_says() -> None:
    first = words(Arrival(0.0, 40, 1, blocks=(1, 2), block_tokens=16), 1)
    second = words(Arrival(0.0, 50, 1, blocks=(1, 2, 3), block_tokens=16), 2)
    other = words(Arrival(0.0, 40, 1, blocks=(9, 2), block_tokens=16), 3)
    assert first[:32] == second[:32]
    assert first[32:40] != second[32:40]
    assert first[:16] != other[:16]
    assert first[16:32] == other[16:32]


def test_a_shortened_trace_keeps_its_arrivals_and_its_prefixes() -> None:
    trace = generated_trace(50, seed=3)
    short = shortened(trace, 0.1)
    assert [arrival.at_s for arrival in short.arrivals] == [arrival.at_s for arrival in trace.arrivals]
    assert all(arrival.block_tokens == 51 for arrival in short.arrivals)
    assert all(len(arrival.blocks) * arrival.block_tokens <= arrival.prompt_tokens for arrival in short.arrivals)


def answered(at_s: float, *piece_s: float, tokens: int = 3) -> ReplayedCall:
    arrival = Arrival(at_s, 100, 3)
    return ReplayedCall(arrival, at_s + 0.01, list(piece_s), piece_s[-1], Usage(90, tokens, 30))


def test_times_count_from_when_the_trace_says_and_failures_are_misses() -> None:
    refused = ReplayedCall(Arrival(2.0, 100, 3), 2.5, [], 2.6, None, "Overloaded")
    late = answered(3.0, 9.0, 9.1, 9.2)
    slow = answered(4.0, 4.5, 4.6, 5.1)
    good = answered(1.0, 1.2, 1.3, 1.5)
    result = replay_result(PLACE, [good, refused, late, slow], 10.0)
    assert (result.n, result.num_answered, result.errors) == (4, 3, {"Overloaded": 1})
    assert (result.goodput_requests, result.goodput_tokens, result.goodput_per_s) == (0.25, 0.25, 0.1)
    assert (result.ttft_p50_ms, result.ttft_p99_ms) == (500.0, 6000.0)
    assert (result.itl_p50_ms, result.e2e_p50_ms) == (100.0, 1100.0)
    assert (result.lag_p50_ms, result.lag_max_ms) == (10.0, 500.0)
    assert (result.prompt_tokens_ratio, result.answer_tokens_ratio, result.prefix_hit) == (0.9, 1.0, 0.3333)
    assert result.checked


def test_an_answer_that_is_longer_than_asked_is_not_checked() -> None:
    assert not replay_result(PLACE, [answered(0.0, 0.1, 0.2, tokens=4)], 1.0).checked
    assert not replay_result(PLACE, [ReplayedCall(Arrival(0.0, 1, 1))], 1.0).checked


def test_a_faster_replay_keeps_the_order() -> None:
    trace = trace_of("t", [Arrival(at_s, 1, 1) for at_s in (5.0, 7.0, 11.0)])
    fast = trace.lasting(trace.duration_s / 4)
    assert [arrival.at_s for arrival in fast.arrivals] == [0.0, 0.5, 1.5]
    assert all(before.at_s <= after.at_s for before, after in pairwise(fast.arrivals))
