"""The engine model against one that does every iteration by itself."""

from collections import deque
from dataclasses import replace
from random import Random

import pytest

from benchmarks.simulator.arrival import Arrival
from benchmarks.simulator.engine import EngineModel, Sequenced
from benchmarks.simulator.kv_cache import BlockCache
from cluster.serving.engines.cost import H100, CostModel
from sage.base.ids import RequestId


def jumped(arrivals: list[Arrival], costs: CostModel = H100) -> dict[str, tuple[float, float]]:
    """Return when each request got its first and its last token, by the engine model."""
    engine, first, last = EngineModel(costs, kv_tokens=1_000_000), dict[str, float](), dict[str, float]()
    waiting = deque(enumerate(arrivals))
    while waiting or not engine.is_idle:
        if waiting and waiting[0][1].at_s <= engine.next_s():
            number, arrival = waiting.popleft()
            engine.add(RequestId(str(number)), arrival, arrival.at_s)
            continue
        now_s = engine.next_s()
        happened = engine.advance(now_s)
        first.update((job.id, now_s) for job in happened.first)
        last.update((job.id, now_s) for job in happened.ended)
    return {id: (first[id], last[id]) for id in last}


def stepped(arrivals: list[Arrival]) -> dict[str, tuple[float, float]]:
    """Return the same, iteration by iteration."""
    cache = BlockCache(1_000_000 // 512)
    waiting = deque(enumerate(arrivals))
    prefilling: deque[list[int]] = deque()  # [number, left]
    decoding: dict[int, int] = {}  # number: tokens left
    first, last, now_s = dict[str, float](), dict[str, float](), 0.0
    while waiting or prefilling or decoding:
        if not prefilling and not decoding:
            now_s = max(now_s, waiting[0][1].at_s)
        while waiting and waiting[0][1].at_s <= now_s:
            number, arrival = waiting.popleft()
            cached = min(cache.num_cached(arrival.blocks) * 512, arrival.prompt_tokens - 1)
            cache.use(arrival.blocks)
            prefilling.append([number, max(1, arrival.prompt_tokens - cached)])
        chunk = min(H100.chunk_tokens - len(decoding), sum(left for _, left in prefilling))
        now_s += H100.iteration_ms(chunk, len(decoding), ()) / 1e3
        for number in list(decoding):
            decoding[number] -= 1
            if decoding[number] == 0:
                del decoding[number]
                last[str(number)] = now_s
        while chunk:
            number, left = prefilling[0]
            done = min(left, chunk)
            prefilling[0][1] -= done
            chunk -= done
            if done == left:
                prefilling.popleft()
                first[str(number)] = now_s
                if arrivals[number].answer_tokens == 1:
                    last[str(number)] = now_s
                else:
                    decoding[number] = arrivals[number].answer_tokens - 1
    return {id: (first[id], last[id]) for id in last}


@pytest.mark.parametrize("seed", range(20))
def test_jumping_over_equal_iterations_gives_what_stepping_through_them_gives(seed: int) -> None:
    rng = Random(seed)
    at_s, arrivals = 0.0, []
    for _ in range(40):
        at_s += rng.expovariate(2.0)
        blocks = tuple(range(rng.randint(0, 3))) + tuple(rng.sample(range(100, 10_000), rng.randint(0, 6)))
        prompt_tokens = 512 * len(blocks) + rng.randint(1, 500)
        arrivals.append(Arrival(at_s, prompt_tokens, rng.choice((1, 2, 40, 300)), blocks))
    seen, expected = jumped(arrivals), stepped(arrivals)
    assert seen.keys() == expected.keys() == {str(n) for n in range(40)}
    for id, (first_s, last_s) in expected.items():
        # A stretch with a prompt in it goes on to its end before a newcomer is seen: one chunk at most.
        assert seen[id][0] == pytest.approx(first_s, abs=0.2)
        assert seen[id][1] == pytest.approx(last_s, rel=0.02, abs=0.3)


def test_no_more_sequences_run_than_the_engine_has_and_no_more_tokens_than_fit() -> None:
    arrivals = [Arrival(0.0, 1_000, 200) for _ in range(200)]
    engine = EngineModel(H100, kv_tokens=12_000)
    jobs = [engine.add(RequestId(str(n)), arrival, 0.0) for n, arrival in enumerate(arrivals)]
    ended = 0
    while not engine.is_idle:
        ended += len(engine.advance(engine.next_s()).ended)
        assert sum(job.left_tokens > 0 or job.ends_at is not None for job in jobs) - ended <= 10
    assert ended == 200


def test_a_cancelled_request_ends_nowhere_and_leaves_its_place() -> None:
    engine = EngineModel(H100, kv_tokens=100_000)
    gone: Sequenced = engine.add(RequestId("gone"), Arrival(0.0, 5_000, 1_000), 0.0)
    engine.add(RequestId("stays"), Arrival(0.0, 100, 10), 0.0)
    engine.cancel(gone, 0.01)
    ids = []
    while not engine.is_idle:
        happened = engine.advance(engine.next_s())
        ids += [job.id for job in (*happened.first, *happened.ended)]
    assert ids == ["stays", "stays"]


def test_what_of_a_cancelled_prompt_was_not_worked_off_is_not_cached() -> None:
    engine = EngineModel(H100, kv_tokens=1_000_000)
    arrival = Arrival(0.0, 100 * 512, 2, blocks=tuple(range(100)))
    gone = engine.add(RequestId("gone"), arrival, 0.0)
    engine.cancel(gone, 0.0)
    engine.advance(engine.next_s())
    again = engine.add(RequestId("again"), arrival, 1.0)
    assert again.cached_tokens == H100.chunk_tokens // 512 * 512


def test_a_prompt_that_was_seen_is_worked_off_at_its_end_only() -> None:
    engine = EngineModel(H100, kv_tokens=100_000)
    arrival = Arrival(0.0, 5_200, 1, tuple(range(10)))
    engine.add(RequestId("a"), arrival, 0.0)
    while not engine.is_idle:
        engine.advance(engine.next_s())
    again = engine.add(RequestId("b"), arrival, 100.0)
    assert (again.cached_tokens, again.left_tokens) == (5_120, 80)


def test_the_cache_drops_what_was_used_longest_ago_and_beginnings_last() -> None:
    cache = BlockCache(4)
    cache.use((1, 2))
    cache.use((3, 4))
    cache.use((1, 2))
    cache.use((5,))
    assert cache.num_cached((1, 2)) == 2
    assert cache.num_cached((3, 4)) == 1
    cache.use((6, 7, 8))
    assert cache.num_cached((6, 7, 8)) == 3
    assert len(cache) == 4


def test_a_token_of_a_prompt_costs_more_the_more_stands_before_it_and_kept_tokens_stand_there_too() -> None:
    costs = replace(H100, prefill_context_ms=0.01, chunk_tokens=512)
    whole = Arrival(0.0, 2000, 1, (1, 2), 512)
    end = Arrival(9.0, 2000, 1, (1, 2), 512)
    times = jumped([whole, end], costs)
    linear_s = (4 * costs.prefill_fixed_ms + 2000 * costs.prefill_token_ms) / 1e3
    assert times["0"][0] == pytest.approx(linear_s + 0.01 * 2000 * 1000 / 1e6)
    linear_s = (2 * costs.prefill_fixed_ms + 976 * costs.prefill_token_ms) / 1e3
    assert times["1"][0] - 9.0 == pytest.approx(linear_s + 0.01 * 976 * (1024 + 488) / 1e6)


def test_prompts_that_are_worked_off_in_one_iteration_have_only_their_own_tokens_before_them() -> None:
    costs = replace(H100, prefill_context_ms=0.01, chunk_tokens=1024)
    engine = EngineModel(costs, kv_tokens=1_000_000)
    for number in range(3):
        engine.add(RequestId(str(number)), Arrival(0.0, 300, 1), 0.0)
    engine.advance(engine.next_s())  # the first began by itself
    alone_s, both_s = engine.next_s(), 2 * 300 * costs.prefill_token_ms + costs.prefill_fixed_ms
    assert alone_s == pytest.approx((300 * costs.prefill_token_ms + costs.prefill_fixed_ms + 0.45 + both_s + 0.9) / 1e3)
