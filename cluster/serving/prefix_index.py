"""Which engines were given which prefixes, and so may have them cached. Knows nothing of engines or requests.

Bounded, as `Recent` is: a block that was not asked for in the last MAX_BLOCKS uses may be forgotten. What an engine
really evicted is not known here; a wrong guess costs the prefill that any other engine would have cost too.
"""

from cluster.serving.size import PromptPrefix
from sage.base.ids import EngineId

MAX_BLOCKS = 262_144
MAX_HOLDERS = 8  # engines remembered for one block, the latest: a block that all share tells nothing

Held = tuple[tuple[EngineId, ...], int]
"""Engines that have so many tokens from the front of a prompt."""


class PrefixIndex:
    """Holders of blocks. Looking up costs O(blocks that match), adding O(blocks).

    Holds its two dicts itself, the young and the old one of `Recent`: a look at each block is no call.
    """

    def __init__(self, max_blocks: int = MAX_BLOCKS) -> None:
        self._max_blocks = max_blocks
        self._young: dict[int, tuple[EngineId, ...]] = {}
        self._old: dict[int, tuple[EngineId, ...]] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def held(self, prefix: PromptPrefix) -> list[Held]:
        """Return how many tokens from the front engines have without a gap: those that have the first block, then each
        time those of them that have more."""
        found: list[Held] = []
        still: tuple[EngineId, ...] = ()
        num = 0
        young = self._young
        for block in prefix.hashes:
            holders = young.get(block)
            if holders is None:
                if (holders := self._old.get(block)) is None:
                    break
                young = self._put(block, holders)
            if holders is not still and (still or not num) and holders != still:
                common = tuple([id for id in still if id in holders]) if num else holders
                if len(common) < len(still):
                    found.append((still, prefix.ends_tokens[num - 1]))
                still = common
            num += 1
        if still:
            found.append((still, prefix.ends_tokens[num - 1]))
        return found

    def cached_tokens(self, prefix: PromptPrefix) -> dict[EngineId, int]:
        """Return, for each engine that has the first block, how many tokens from the front it has without a gap."""
        found: dict[EngineId, int] = {}
        for holders, tokens in self.held(prefix):
            found.update(dict.fromkeys(holders, tokens))
        return found

    def add(self, prefix: PromptPrefix, engine_id: EngineId) -> int:
        """Note that an engine is given this prefix; return how many tokens from the front it had before."""
        num_had, has_gap, young = 0, False, self._young
        before: tuple[EngineId, ...] = ()  # of the block before: its holders without, and with the engine
        after: tuple[EngineId, ...] = ()
        alone: tuple[EngineId, ...] = ()  # the engine, where nobody has a block
        is_held = False
        for block in prefix.hashes:
            holders = young.get(block)
            if holders is None:
                if (holders := self._old.get(block)) is None:
                    has_gap, alone = True, alone or (engine_id,)
                    young = self._put(block, alone)
                    continue
                young = self._put(block, holders)
            if holders is not before:  # those that have the same share one tuple
                before, is_held = holders, engine_id in holders
                if not is_held:
                    after = (*holders[-MAX_HOLDERS + 1 :], engine_id)
            if not is_held:
                has_gap = True
                young[block] = after
            elif not has_gap:
                num_had += 1
        return prefix.ends_tokens[num_had - 1] if num_had else 0

    def _put(self, block: int, holders: tuple[EngineId, ...]) -> dict[int, tuple[EngineId, ...]]:
        """Remember who holds a block, as used last; return the young ones."""
        young = self._young
        if len(young) >= self._max_blocks and block not in young:
            self._old, self._young = young, {}
            young = self._young
        self._old.pop(block, None)
        young[block] = holders
        return young
