"""What engines still have cached is learned from what they say they found there."""

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.simulator.kv_cache import BlockCache
from cluster.serving.engine_caches import MAX_BLOCKS, EngineCaches
from cluster.serving.size import PromptPrefix
from sage.base.ids import EngineId

_ID = EngineId("a")
_BLOCK = 10


def _prefix(*blocks: int) -> PromptPrefix:
    return PromptPrefix(blocks, tuple(_BLOCK * (n + 1) for n in range(len(blocks))))


class _Told:
    """An engine with a real cache beside what is learned of it."""

    def __init__(self, num_blocks: int) -> None:
        self.caches = EngineCaches()
        self._cache = BlockCache(num_blocks)

    def ask(self, *blocks: int) -> None:
        prefix = _prefix(*blocks)
        runs = self.caches.given(prefix, _ID)
        cached_tokens = self.cached_tokens(*blocks)
        self._cache.use(blocks)
        self.caches.told(_ID, runs, cached_tokens, _BLOCK * len(blocks))

    def ask_often(self, num: int, *, num_prompts: int) -> None:
        """Ask in no order for prompts of two to six blocks."""
        rng = Random(7)
        for _ in range(num):
            n = rng.randrange(num_prompts)
            self.ask(*range(100 * n, 100 * n + 2 + n % 5))

    def cached_tokens(self, *blocks: int) -> int:
        return _BLOCK * self._cache.num_cached(blocks)

    def believed_tokens(self, *blocks: int) -> int:
        return self.caches.still_cached(_prefix(*blocks), _ID, _BLOCK * len(blocks))


def test_an_engine_that_never_tells_is_believed_to_keep_all() -> None:
    caches = EngineCaches()
    for n in range(100):
        runs = caches.given(_prefix(n, 1_000 + n), _ID)
        caches.told(_ID, runs, 0, 20)
    assert caches.kept_tokens(_ID) == math.inf
    assert caches.still_cached(_prefix(0, 1_000), _ID, 20) == 20


def test_it_is_known_which_prompts_used_a_prompt_last_and_how_much_was_used_since() -> None:
    caches = EngineCaches()
    runs = [caches.given(_prefix(*blocks), _ID) for blocks in ((1, 2), (9,), (1, 3, 4), (1, 3, 4), (1, 2))]
    assert runs == [(), (), ((10, 10),), ((30, 0),), ((10, 0), (20, 40))]


def test_what_an_engine_was_never_given_is_not_there() -> None:
    caches = EngineCaches()
    caches.given(_prefix(1), _ID)
    assert caches.still_cached(_prefix(1, 2), _ID, 20) == 10
    assert caches.still_cached(_prefix(1, 2), EngineId("b"), 20) == 0


def test_how_much_is_kept_is_learned_from_what_was_dropped() -> None:
    engine = _Told(num_blocks=50)
    engine.ask_often(1_000, num_prompts=30)
    assert 300 <= engine.caches.kept_tokens(_ID) <= 700, "it keeps 500"
    engine.ask(*range(9_000, 9_020))
    assert engine.believed_tokens(*range(9_000, 9_020)) == 200
    for n in range(8):
        engine.ask(*range(20_000 + 100 * n, 20_010 + 100 * n))
    assert engine.cached_tokens(*range(9_000, 9_020)) == 0
    assert engine.believed_tokens(*range(9_000, 9_020)) == 0


def test_what_is_believed_is_nearly_always_what_is_there_once_the_size_is_learned() -> None:
    engine = _Told(num_blocks=50)
    engine.ask_often(1_000, num_prompts=30)
    assert 450 <= engine.caches.kept_tokens(_ID) <= 550, "it keeps 500"
    rng, wrong = Random(8), 0
    for _ in range(300):
        n = rng.randrange(30)
        blocks = range(100 * n, 100 * n + 2 + n % 5)
        wrong += engine.believed_tokens(*blocks) != engine.cached_tokens(*blocks)
        engine.ask(*blocks)
    assert wrong <= 15


def test_what_is_used_again_and_again_drives_nothing_out() -> None:
    engine = _Told(num_blocks=50)
    engine.ask_often(1_000, num_prompts=30)
    engine.ask(*range(9_000, 9_020))
    for _ in range(20):
        engine.ask(*range(20_000, 20_010))
    assert engine.cached_tokens(*range(9_000, 9_020)) == 200
    assert engine.believed_tokens(*range(9_000, 9_020)) == 200


@pytest.mark.parametrize(("ends", "told"), [(13, 12), (500, 496)])
def test_the_last_token_and_a_block_begun_are_worked_off_anew_and_say_nothing(ends: int, told: int) -> None:
    caches, other = EngineCaches(), PromptPrefix((7, 8), (2_000, 4_000))
    prompt = PromptPrefix((1,), (ends,))
    caches.given(prompt, _ID)
    caches.given(other, _ID)
    caches.told(_ID, caches.given(prompt, _ID), told, ends)
    assert caches.kept_tokens(_ID) == math.inf


def test_a_beginning_too_short_to_be_told_from_nothing_says_nothing() -> None:
    caches = EngineCaches()
    caches.told(_ID, caches.given(_prefix(1), _ID), 0, 10)
    caches.given(_prefix(2, 3, 4), _ID)
    caches.told(_ID, caches.given(_prefix(2, 3, 4), _ID), 10, 30)  # it keeps 10, as far as it says
    kept = caches.kept_tokens(_ID)
    caches.told(_ID, caches.given(_prefix(1, *range(100, 200)), _ID), 0, 1_010)
    assert caches.kept_tokens(_ID) == kept


def test_the_end_of_a_prompt_is_dropped_before_its_beginning() -> None:
    engine = _Told(num_blocks=30)
    engine.ask_often(1_000, num_prompts=30)
    engine.ask(*range(5_000, 5_015))
    engine.ask(*range(6_000, 6_020))
    assert engine.cached_tokens(*range(5_000, 5_015)) == 100
    assert 50 <= engine.believed_tokens(*range(5_000, 5_015)) <= 150


def test_a_larger_cache_is_learned_as_well() -> None:
    engine = _Told(num_blocks=20)
    engine.ask_often(500, num_prompts=30)
    small = engine.caches.kept_tokens(_ID)
    larger = _Told(num_blocks=200)
    larger.caches = engine.caches
    larger.ask_often(1_000, num_prompts=60)
    assert small <= 400, "it keeps 200"
    assert engine.caches.kept_tokens(_ID) > 2 * small, "it keeps 2,000"


def test_an_engine_that_is_gone_has_nothing_when_it_comes_back() -> None:
    caches = EngineCaches()
    caches.given(_prefix(1, 2), _ID)
    caches.forget(_ID)
    caches.given(_prefix(1, 3), _ID)
    assert caches.still_cached(_prefix(1, 2), _ID, 20) == 10


def test_only_the_blocks_used_last_are_remembered() -> None:
    caches = EngineCaches()
    for n in range(3 * MAX_BLOCKS):
        caches.given(_prefix(n), _ID)
    assert caches.still_cached(_prefix(0), _ID, 10) == 0
    assert caches.still_cached(_prefix(3 * MAX_BLOCKS - 1), _ID, 10) == 10


@given(st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=8), max_size=60), st.integers(0, 20))
def test_what_is_believed_is_never_more_than_was_given(asked: list[list[int]], num_blocks: int) -> None:
    engine, whole = _Told(max(1, num_blocks)), set[int]()
    for path in asked:
        blocks = [hash(tuple(path[: n + 1])) for n in range(len(path))]
        believed = engine.believed_tokens(*blocks)
        assert 0 <= believed <= _BLOCK * max((n + 1 for n in range(len(path)) if blocks[n] in whole), default=0)
        engine.ask(*blocks)
        whole.update(blocks)
    assert engine.caches.kept_tokens(_ID) > 0.0


def test_a_prompt_that_was_given_back_is_cached_as_far_as_it_was_before_or_as_others_use_it() -> None:
    caches = EngineCaches()
    caches.given(_prefix(1, 2), _ID)
    caches.given(_prefix(1, 2, 3, 4), _ID)
    caches.given(_prefix(1, 2, 3), _ID)
    caches.not_worked_off(_prefix(1, 2, 3, 4), _ID, 2 * _BLOCK)
    assert caches.still_cached(_prefix(1, 2, 3, 4), _ID, 4 * _BLOCK) == 3 * _BLOCK
    caches.not_worked_off(_prefix(1, 2, 3), _ID, 2 * _BLOCK)
    assert caches.still_cached(_prefix(1, 2, 3, 4), _ID, 4 * _BLOCK) == 2 * _BLOCK
