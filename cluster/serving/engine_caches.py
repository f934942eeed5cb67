"""How much of what engines were given they still have cached, learned from what they say they found there.

An engine drops what was used longest ago, and of one prompt its end first (as vLLM does). So a block is there as long
as what was used since, with what stands before it in its prompt, is no more than the engine keeps; what is used again
counts once. How much it keeps nobody says, but each answer says how much of its prompt was cached: what was found had
been kept beside so many tokens, what was not found had not. An engine that never tells of anything cached is believed
to keep all. Knows no request and no queue.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from cluster.serving.prefix_index import Held
from cluster.serving.size import PromptPrefix
from sage.base.ids import EngineId

MAX_BLOCKS = 16_384
"""Of one engine; more than half of them are those used last: more than a million tokens of short blocks, as much as
eight devices hold of a large model."""

_STEP = 0.2  # of the way to what an answer says
_NEAR = 0.05  # of the prompt: what is told is in tokens of the engine, what is expected in such as are assumed here
_BLOCK_TOKENS = 16  # engines tell of whole blocks, and work off the last token of a prompt in any case

Run = tuple[int, int]
"""Where blocks used last by one prompt end, in tokens of the prompt given now; how much was used after that one."""


@dataclass(slots=True)
class _Cache:
    """Prompts by number. `used`: of each block the prompt that used it last; `left`: of each prompt from `first` on the
    tokens of the blocks that none used since. `newer`: the sum of those after `bound`, the oldest of which the engine
    still has anything: as much as it keeps, and no more."""

    used: dict[int, int] = field(default_factory=dict)
    left: list[int] = field(default_factory=list)
    first: int = 0
    bound: int = 0
    newer: int = 0
    kept: float = math.inf
    tells: bool = False

    def used_after(self, number: int) -> int:
        """Return how many tokens were used after a prompt: as many are there for each to be dropped before it."""
        left, at, bound = self.left, number - self.first + 1, self.bound - self.first + 1
        if at <= bound:
            return self.newer + sum(left[at:bound])
        if at - bound < len(left) - at:
            return self.newer - sum(left[bound:at])
        return sum(left[at:])

    def drop(self) -> None:
        """Drop what is more than is kept, which was used longest ago."""
        newer, kept, left, at = self.newer, self.kept, self.left, self.bound - self.first
        while newer > kept:
            at += 1
            newer -= left[at]
        self.newer, self.bound = newer, at + self.first

    def learn(self, used_after: float) -> None:
        """Come nearer to keeping just so much."""
        self.kept = used_after if self.kept == math.inf else self.kept + _STEP * (used_after - self.kept)
        left, first = self.left, self.first
        while self.bound > first and self.newer + left[self.bound - first] <= self.kept:
            self.newer += left[self.bound - first]
            self.bound -= 1
        self.drop()

    def forget_oldest(self) -> None:
        """Forget about half of the blocks: O(1) a block given, on average."""
        middle = sorted(self.used.values())[len(self.used) // 2]
        self.used = {block: number for block, number in self.used.items() if number > middle}
        while self.bound < middle:
            self.bound += 1
            self.newer -= self.left[self.bound - self.first]
        del self.left[: middle - self.first]
        self.first = middle


class EngineCaches:
    """Of each engine what it was given when. O(blocks) a prompt given, O(log blocks) a look."""

    def __init__(self) -> None:
        self._caches: dict[EngineId, _Cache] = {}

    def kept_tokens(self, engine_id: EngineId) -> float:
        """Return how many tokens an engine keeps; infinite if not known."""
        cache = self._caches.get(engine_id)
        return math.inf if cache is None else cache.kept

    def still_cached(self, prefix: PromptPrefix, engine_id: EngineId, tokens: int) -> int:
        """Return how much an engine still has of the first `tokens` of a prompt, where a block ends."""
        cache = self._caches.get(engine_id)
        if cache is None or not tokens:
            return 0
        blocks, ends, used, bound = prefix.hashes, prefix.ends_tokens, cache.used.get, cache.bound
        if used(blocks[0], -1) < bound:  # whoever used a block used those before it too
            return 0
        high = bisect_left(ends, tokens)
        if used(blocks[high], -1) > bound:
            return tokens
        low = 0  # the first `low` blocks are there whole; after the look, the one at `high` is not
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if used(blocks[middle], -1) > bound else (low, middle)
        begins = ends[low - 1] if low else 0
        found, last = begins, begins + cache.kept - cache.newer  # of the oldest prompt, only its beginning
        while low < len(blocks) and ends[low] <= min(last, tokens) and used(blocks[low]) == bound:
            found, low = ends[low], low + 1
        return found

    def most_cached(self, prefix: PromptPrefix, given: Sequence[Held], least_tokens: int) -> int:
        """Return how much the engine that has most of a prompt still has of what each was given; 0 where that is less
        than `least_tokens`. None is looked at that was not given more."""
        most, caches, first = least_tokens - 1, self._caches, prefix.hashes[0]
        for holders, tokens in reversed(given):
            for engine_id in reversed(holders):  # who was given it last most likely still has it
                if tokens <= most:
                    break
                cache = caches.get(engine_id)
                if cache is not None and cache.used.get(first, -1) >= cache.bound:
                    still = self.still_cached(prefix, engine_id, tokens)
                    if still > most:
                        most = still
        return most if most >= least_tokens else 0

    def given(self, prefix: PromptPrefix, engine_id: EngineId) -> tuple[Run, ...]:
        """Note that an engine is given a prompt now; return what of it the engine was given before."""
        cache = self._caches.get(engine_id)
        if cache is None:
            cache = self._caches[engine_id] = _Cache(left=[0])
        blocks = prefix.hashes
        if not blocks:
            return ()
        used, left, tokens = cache.used, cache.left, prefix.ends_tokens[-1]
        number = cache.first + len(left)
        runs: tuple[Run, ...] = ()
        before = used.get(blocks[0])
        if before is not None and before == used.get(blocks[-1]):  # one prompt used all of it last
            runs = ((tokens, cache.used_after(before)),)
            left[before - cache.first] -= tokens
            if before > cache.bound:
                cache.newer -= tokens
        elif before is not None:
            found = _found(prefix, cache)
            runs = tuple([(ends, cache.used_after(by)) for by, _, ends in found])
            for by, begins, ends in found:
                left[by - cache.first] -= ends - begins
                if by > cache.bound:
                    cache.newer -= ends - begins
        left.append(tokens)
        cache.newer += tokens
        for block in blocks:
            used[block] = number
        if cache.newer > cache.kept:
            cache.drop()
        if len(cache.used) > MAX_BLOCKS:
            cache.forget_oldest()
        return runs

    def not_worked_off(self, prefix: PromptPrefix, engine_id: EngineId, cached_tokens: int) -> None:
        """Note that an engine gave a prompt back: of its blocks it has those within `cached_tokens` only, which it had
        before, and those that another prompt used since."""
        cache = self._caches.get(engine_id)
        if cache is None or not prefix.hashes:
            return
        used = cache.used
        given, begins = used.get(prefix.hashes[-1]), 0
        for block, ends in zip(prefix.hashes, prefix.ends_tokens, strict=True):
            if ends > cached_tokens and given is not None and used.get(block) == given:
                del used[block]
                cache.left[given - cache.first] -= ends - begins
                if given > cache.bound:
                    cache.newer -= ends - begins
            begins = ends

    def forget(self, engine_id: EngineId) -> None:
        """Forget an engine that is gone: one that comes back has nothing cached."""
        self._caches.pop(engine_id, None)

    def told(self, engine_id: EngineId, runs: tuple[Run, ...], cached_tokens: float, prompt_tokens: int) -> None:
        """Learn from how much of a prompt an engine had cached; `runs` are what `given` returned."""
        cache = self._caches.get(engine_id)
        if cache is None or not runs:
            return
        cache.tells = cache.tells or cached_tokens > 0
        begins, near = 0, _BLOCK_TOKENS + _NEAR * prompt_tokens
        for ends, used_after in runs if cache.tells else ():
            if cached_tokens < ends - near:
                at = used_after + max(0.0, cached_tokens - begins)
                if at < cache.kept or cached_tokens > begins:
                    cache.learn(at)
                return
            if used_after + ends - begins > cache.kept and ends - begins > near:
                cache.learn(used_after + ends - begins)
            begins = ends


def _found(prefix: PromptPrefix, cache: _Cache) -> list[tuple[int, int, int]]:
    """Return of the prompt's beginning, as far as the engine was given it: the prompts that used it last, in order,
    and of which tokens to which."""
    found: list[tuple[int, int, int]] = []
    before, begins, end = -1, 0, 0
    for block, ends in zip(prefix.hashes, prefix.ends_tokens, strict=True):
        used = cache.used.get(block)
        if used is None or used > before >= 0:
            break
        if used != before:
            if end > begins:
                found.append((before, begins, end))
            before, begins = used, end
        end = ends
    if end > begins:
        found.append((before, begins, end))
    return found
