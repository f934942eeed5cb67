"""Which engines were given which prefixes, and so may have them cached. Knows nothing of engines or requests.

Bounded: a block that was not asked for in the last MAX_BLOCKS uses may be forgotten. What an engine really evicted is
not known here; a wrong guess costs the prefill that any other engine would have cost too.
"""

from cluster.serving.recent import Recent
from cluster.serving.size import PromptPrefix
from sage.base.ids import EngineId

MAX_BLOCKS = 262_144
MAX_HOLDERS = 8  # engines remembered for one block, the latest: a block that all share tells nothing


class PrefixIndex:
    """Holders of blocks. Looking up costs O(blocks that match), adding O(blocks)."""

    def __init__(self, max_blocks: int = MAX_BLOCKS) -> None:
        self._holders: Recent[int, tuple[EngineId, ...]] = Recent(max_blocks)

    def __len__(self) -> int:
        return len(self._holders)

    def cached_tokens(self, prefix: PromptPrefix) -> dict[EngineId, int]:
        """Return, for each engine that has the first block, how many tokens from the front it has without a gap."""
        found: dict[EngineId, int] = {}
        still: tuple[EngineId, ...] = ()
        end_tokens = 0
        ends_tokens = prefix.ends_tokens
        for at, holders in enumerate(self._holders.leading(prefix.hashes)):
            if holders is not still and holders != still:
                common = tuple([id for id in still if id in holders]) if end_tokens else holders
                if len(common) < len(still):
                    found.update(dict.fromkeys(still, end_tokens))
                if not common:
                    return found
                still = common
            end_tokens = ends_tokens[at]
        found.update(dict.fromkeys(still, end_tokens))
        return found

    def add(self, prefix: PromptPrefix, engine_id: EngineId) -> int:
        """Note that an engine is given this prefix; return how many tokens from the front it had before."""
        blocks, put = prefix.hashes, self._holders.put
        known = self._holders.leading(blocks)
        num_had, has_gap = 0, False
        for at, holders in enumerate(known):
            if engine_id not in holders:
                has_gap = True
                put(blocks[at], (*holders[-MAX_HOLDERS + 1 :], engine_id))
            elif not has_gap:
                num_had += 1
        for block in blocks[len(known) :]:
            holders_of_rest = self._holders.get(block)
            if not holders_of_rest:
                put(block, (engine_id,))
            elif engine_id not in holders_of_rest:
                put(block, (*holders_of_rest[-MAX_HOLDERS + 1 :], engine_id))
        return prefix.ends_tokens[num_had - 1] if num_had else 0
