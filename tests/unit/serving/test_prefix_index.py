"""The index answers like one that keeps its blocks in a mapping that forgets, a look at a time."""

from random import Random

from cluster.serving.prefix_index import MAX_HOLDERS, PrefixIndex
from cluster.serving.recent import Recent
from cluster.serving.size import PromptPrefix
from sage.base.ids import EngineId


class PlainIndex:
    """What the index must answer like."""

    def __init__(self, max_blocks: int) -> None:
        self._holders: Recent[int, tuple[EngineId, ...]] = Recent(max_blocks)

    def cached_tokens(self, prefix: PromptPrefix) -> dict[EngineId, int]:
        known = self._holders.leading(prefix.hashes)
        found = dict.fromkeys(known[0] if known else (), 0)
        for engine_id in found:
            for holders, ends in zip(known, prefix.ends_tokens, strict=False):
                if engine_id not in holders:
                    break
                found[engine_id] = ends
        return found

    def add(self, prefix: PromptPrefix, engine_id: EngineId) -> int:
        had_tokens = self.cached_tokens(prefix).get(engine_id, 0)
        for block in prefix.hashes:
            holders = self._holders.get(block) or ()
            if engine_id not in holders:
                self._holders.put(block, (*holders[-MAX_HOLDERS + 1 :], engine_id))
        return had_tokens


def test_what_was_given_is_found_as_if_each_block_were_looked_up_alone() -> None:
    rng = Random(5)
    index, plain = PrefixIndex(max_blocks=60), PlainIndex(60)
    num_found = 0
    for _ in range(3_000):
        branch, long = rng.randrange(25), rng.randrange(5)
        prefix = PromptPrefix(
            tuple(hash((branch if n > 1 else branch % 5, n)) for n in range(long)), tuple(range(10, 10 * long + 1, 10))
        )
        found = index.cached_tokens(prefix)
        assert found == plain.cached_tokens(prefix)
        engine_id = EngineId(f"e{rng.randrange(12)}")
        assert index.add(prefix, engine_id) == plain.add(prefix, engine_id)
        num_found += len(found)
    assert num_found > 3_000
