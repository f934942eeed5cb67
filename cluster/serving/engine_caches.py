"""How much of what engines were given they still have cached, learned from what they say they found there.

An engine drops what was used longest ago, and of one prompt its end first (as vLLM does). So a block is there as long
as the engine was given less since, with what stands before it in its prompt, than it keeps. How much it keeps nobody
says, but each answer says how much of its prompt was cached: what was found had been kept for so many tokens, what was
not found had not. An engine that never tells of anything cached is believed to keep all. Knows no request and no queue.
"""

import math
from dataclasses import dataclass, field

from cluster.serving.size import PromptPrefix
from sage.base.ids import EngineId

MAX_BLOCKS = 16_384
"""Of one engine; more than half of them are those used last: more than a million tokens of short blocks, as much as
eight devices hold of a large model."""

_STEP = 0.2  # of the way to what an answer says
_NEAR = 0.05  # of the prompt: what is told is in tokens of the engine, what is expected in such as are assumed here

Run = tuple[int, float]
"""Where blocks used at the same time end, in tokens of the prompt; how much the engine was given since."""


@dataclass(slots=True)
class _Cache:
    """`given`: tokens of all prompts; `used`: as it was when a block was used last."""

    given: float = 0.0
    kept: float = math.inf
    tells: bool = False
    used: dict[int, float] = field(default_factory=dict)

    def has(self, block: int, ends_tokens: int) -> bool:
        used = self.used.get(block)
        return used is not None and self.given - used + ends_tokens <= self.kept

    def drop_oldest(self) -> None:
        """Forget half of the blocks: O(1) a block given, on average."""
        middle = sorted(self.used.values())[len(self.used) // 2]
        self.used = {block: used for block, used in self.used.items() if used > middle}

    def learn(self, given_since: float) -> None:
        """Come nearer to keeping just so much."""
        self.kept = given_since if self.kept == math.inf else self.kept + _STEP * (given_since - self.kept)


class EngineCaches:
    """Of each engine what it was given when. O(blocks) a prompt given, O(log blocks) a look."""

    def __init__(self) -> None:
        self._caches: dict[EngineId, _Cache] = {}

    def kept_tokens(self, engine_id: EngineId) -> float:
        """Return how much an engine is given until it has dropped what it was given before; infinite if not known."""
        cache = self._caches.get(engine_id)
        return math.inf if cache is None else cache.kept

    def still_cached(self, prefix: PromptPrefix, engine_id: EngineId, tokens: int) -> int:
        """Return how much an engine still has of the first `tokens` of a prompt, where a block ends."""
        cache = self._caches.get(engine_id)
        if cache is None:
            return 0
        blocks, ends = prefix.hashes, prefix.ends_tokens
        low, high = 0, ends.index(tokens)  # the first `low` blocks are there; after the look, the one at `high` is not
        if cache.has(blocks[high], tokens):
            return tokens
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if cache.has(blocks[middle], ends[middle]) else (low, middle)
        return ends[low - 1] if low else 0

    def given(self, prefix: PromptPrefix, engine_id: EngineId) -> tuple[Run, ...]:
        """Note that an engine is given a prompt now; return what of it the engine was given before."""
        cache = self._caches.setdefault(engine_id, _Cache())
        if not prefix.hashes:
            return ()
        runs = _runs(prefix, cache)
        cache.given += prefix.ends_tokens[-1]
        cache.used.update(dict.fromkeys(prefix.hashes, cache.given))
        if len(cache.used) > MAX_BLOCKS:
            cache.drop_oldest()
        return runs

    def not_worked_off(self, prefix: PromptPrefix, engine_id: EngineId, cached_tokens: int) -> None:
        """Note that an engine gave a prompt back: of its blocks it has those within `cached_tokens` only, which it had
        before, and those that another prompt used since."""
        cache = self._caches.get(engine_id)
        if cache is None or not prefix.hashes:
            return
        used = cache.used
        given = used.get(prefix.hashes[-1])
        for block, ends in zip(prefix.hashes, prefix.ends_tokens, strict=True):
            if ends > cached_tokens and used.get(block) == given:
                used.pop(block, None)

    def forget(self, engine_id: EngineId) -> None:
        """Forget an engine that is gone: one that comes back has nothing cached."""
        self._caches.pop(engine_id, None)

    def told(self, engine_id: EngineId, runs: tuple[Run, ...], cached_tokens: float, prompt_tokens: int) -> None:
        """Learn from how much of a prompt an engine had cached; `runs` are what `given` returned."""
        cache = self._caches.get(engine_id)
        if cache is None or not runs:
            return
        cache.tells = cache.tells or cached_tokens > 0
        begins = 0
        for ends, since in runs if cache.tells else ():
            if cached_tokens < ends - _NEAR * prompt_tokens:
                at = max(since + begins, since + cached_tokens)
                if at < cache.kept or cached_tokens > begins:
                    cache.learn(at)
                return
            if since + ends > cache.kept:
                cache.learn(since + ends)
            begins = ends


def _runs(prefix: PromptPrefix, cache: _Cache) -> tuple[Run, ...]:
    runs: list[Run] = []
    before = math.inf
    for block, ends in zip(prefix.hashes, prefix.ends_tokens, strict=True):
        used = cache.used.get(block)
        if used is None or used > before:
            break
        if used == before:
            runs[-1] = (ends, cache.given - used)
        else:
            runs.append((ends, cache.given - used))
        before = used
    return tuple(runs)
