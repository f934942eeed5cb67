"""What of prompts engines keep, where they tell exactly. Pure; knows no request and no queue.

An engine that tells begins with a first message, and each that follows says what changed. Who has not heard the first
(a plane that took the engine over) passes over the rest: what such an engine keeps is guessed, as of any other.
"""

from typing import Literal

from cluster.serving.engines.figures import KeptBlocks
from cluster.serving.size import PromptPrefix
from sage.base.ids import EngineId

CacheBelief = Literal["exact", "learned"]
"""How it is known what an engine has cached: by its own word, or by what it said that it found of prompts."""

COMING_TOKENS = 65_536
"""What an engine was given before so much more, and has not told of, it is not about to keep any more."""

MAX_COMING = 16_384


class _Kept:
    def __init__(self) -> None:
        self.blocks: set[int] = set()
        self.coming: dict[int, int] = {}  # given, not told of yet: how much was given up to then
        self.given_tokens = 0


class KeptExactly:
    """The blocks that each telling engine keeps, or will keep of what it was given just now."""

    def __init__(self) -> None:
        self._engines: dict[EngineId, _Kept] = {}
        self.version = 0  # 0 before any word of an engine, another one after each

    def tells(self, engine_id: EngineId) -> bool:
        return engine_id in self._engines

    def told(self, engine_id: EngineId, change: KeptBlocks) -> None:
        """Take what an engine says."""
        self.version += 1
        if change.is_first:
            self._engines[engine_id] = _Kept()
        kept = self._engines.get(engine_id)
        if kept is None:
            return
        if change.is_over:
            del self._engines[engine_id]
            return
        kept.blocks.update(change.stored)
        kept.blocks.difference_update(change.removed)
        for block in (*change.stored, *change.removed):
            kept.coming.pop(block, None)

    def given(self, prefix: PromptPrefix, engine_id: EngineId) -> None:
        """Note that an engine is given a prompt now: it will keep it soon."""
        kept = self._engines.get(engine_id)
        if kept is None or not prefix.hashes:
            return
        kept.given_tokens += prefix.ends_tokens[-1]
        kept.coming.update(dict.fromkeys((b for b in prefix.hashes if b not in kept.blocks), kept.given_tokens))
        if len(kept.coming) > MAX_COMING:
            middle = sorted(kept.coming.values())[len(kept.coming) // 2]
            kept.coming = {block: given for block, given in kept.coming.items() if given > middle}

    def not_worked_off(self, prefix: PromptPrefix, engine_id: EngineId) -> None:
        """Note that an engine gave a prompt back: it keeps what it has told of."""
        kept = self._engines.get(engine_id)
        if kept is not None:
            for block in prefix.hashes:
                kept.coming.pop(block, None)

    def tokens(self, prefix: PromptPrefix, engine_id: EngineId) -> int:
        """Return how much of a prompt an engine that tells keeps, from the front without a gap, where a block ends."""
        kept, found = self._engines[engine_id], 0
        for block, ends in zip(prefix.hashes, prefix.ends_tokens, strict=True):
            if block not in kept.blocks:
                given = kept.coming.get(block)
                if given is None or kept.given_tokens - given > COMING_TOKENS:
                    break
            found = ends
        return found

    def forget(self, engine_id: EngineId) -> None:
        """Forget an engine that is gone."""
        self._engines.pop(engine_id, None)
