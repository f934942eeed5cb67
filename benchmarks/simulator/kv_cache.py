"""Which blocks of prompts an engine has cached: least recently used goes first. Knows no request."""

from collections import OrderedDict
from collections.abc import Sequence


class BlockCache:
    """A set of blocks of bounded size, in the order of use. O(blocks) a prompt."""

    def __init__(self, max_blocks: int) -> None:
        self._max_blocks = max_blocks
        self._blocks: OrderedDict[int, None] = OrderedDict()  # in order of use

    def __len__(self) -> int:
        return len(self._blocks)

    def num_cached(self, blocks: Sequence[int]) -> int:
        """Return how many of `blocks`, from the first on without a gap, are cached."""
        for number, block in enumerate(blocks):
            if block not in self._blocks:
                return number
        return len(blocks)

    def use(self, blocks: Sequence[int]) -> None:
        """Cache `blocks`, or count them as used now; what was used longest ago is dropped where there is no room."""
        known = self._blocks
        for block in reversed(blocks):  # so that the beginning, which others may share, is dropped last
            known[block] = None
            known.move_to_end(block)
        while len(known) > self._max_blocks:
            known.popitem(last=False)  # of a plain dict, the first is found ever later, behind all that were dropped

    def forget(self, blocks: Sequence[int]) -> None:
        """Cache these no more: what would be in them was not worked off."""
        for block in blocks:
            self._blocks.pop(block, None)
