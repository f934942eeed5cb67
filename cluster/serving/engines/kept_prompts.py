"""Which blocks of our prompts a vLLM server keeps, exactly, by what it publishes. Pure; knows no socket and no plane.

Our blocks are of text, the server's of tokens. A prompt's tokens are known once the server has begun with it; a block
of ours is kept while the server's block is in which it ends. Where in the tokens a block of ours ends is told by its
share of the text. Tenants share what the server keeps, but texts of different tenants never have a block in common: of
a text that a tenant did not ask for, nothing is known for it.

Bounded: of texts that were not asked for in the last MAX_TEXTS uses nothing is told any more.
"""

import math
from array import array
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xxhash import xxh3_64_intdigest

from cluster.serving.engines.kv_events import AllBlocksCleared, BlockHash, BlockRemoved, BlockStored, KvEvent
from cluster.serving.size import PromptPrefix
from sage.base.errors import RequestFailed

MAX_TEXTS = 65_536
MAX_EARLY = 64
MAX_STORED = 1 << 20
"""Blocks of a server: 16 million tokens of the smallest blocks; who keeps more is not followed."""

MAX_GONE = 65_536
"""Blocks that were removed, and may still be named as what comes before another."""


@dataclass(frozen=True, slots=True)
class KeptChange:
    """Blocks of ours that are kept from now on, and that are not any more."""

    stored: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()


class KeptPrompts:
    """Told of prompts and of what the server stores and removes, in any order; says what changed of our blocks."""

    def __init__(self) -> None:
        self._block_tokens = 0
        self._early: list[tuple[PromptPrefix, int, Sequence[int], str | None]] = []  # before any block was stored
        self._keys: dict[BlockHash, int] = {}  # of the server's blocks, those removed too: all tokens up to their ends
        self._present: Counter[BlockHash] = Counter()  # in how many places each is
        self._stored: Counter[int] = Counter()  # how many of those present have the key
        self._key_of: OrderedDict[int, int] = OrderedDict()  # of a text, in order of use
        self._texts: dict[int, set[int]] = {}
        self._told: set[int] = set()  # texts that were said to be kept
        self._touched: set[int] = set()
        self._asked: set[int] = set()  # texts of prompts since it was asked last: what became of them is always said

    def asks_tokens(self, prefix: PromptPrefix) -> bool:
        """Take that a prompt is asked for; say whether its tokens are to be told: not all of its texts are known."""
        known = self._key_of
        if not all(text in known for text in prefix.hashes):
            return True
        for text in prefix.hashes:
            known.move_to_end(text)
        return False

    def prompted(
        self, prefix: PromptPrefix, prompt_tokens: int, token_ids: Sequence[int], adapter: str | None = None
    ) -> None:
        """Take that the server has begun with a prompt of its model, or an `adapter`, and its tokens unless they are
        known; the ends of its blocks are counted against `prompt_tokens`."""
        self._asked.update(prefix.hashes)
        self._touched.update(prefix.hashes)
        if not token_ids:
            return
        if self._block_tokens:
            self._place(prefix, prompt_tokens, token_ids, adapter)
        elif len(self._early) < MAX_EARLY:
            self._early.append((prefix, prompt_tokens, token_ids, adapter))

    def take(self, events: Iterable[KvEvent]) -> None:
        """Take what the server says; raises RequestFailed where it keeps more than can be followed."""
        for event in events:
            match event:
                case BlockStored():
                    self._store(event)
                case BlockRemoved(block_hashes):
                    for block_hash in block_hashes:
                        self._remove(block_hash)
                case AllBlocksCleared():
                    self._clear()

    def changes(self) -> KeptChange:
        """Return what changed since it was asked last."""
        stored: list[int] = []
        removed: list[int] = []
        for text in self._touched:
            key = self._key_of.get(text)
            is_kept = key is not None and key in self._stored
            if is_kept and text not in self._told:
                self._told.add(text)
                stored.append(text)
            elif not is_kept and (text in self._told or text in self._asked):
                self._told.discard(text)
                removed.append(text)
        self._touched.clear()
        self._asked.clear()
        return KeptChange(tuple(stored), tuple(removed))

    def begin_again(self) -> None:
        """Forget what the server keeps, and that it was told: it is not known any more. Texts stay known."""
        self._clear()
        for forgotten in (self._told, self._touched, self._asked):
            forgotten.clear()

    def _place(self, prefix: PromptPrefix, prompt_tokens: int, token_ids: Sequence[int], adapter: str | None) -> None:
        """Note in which of the server's blocks each of ours ends."""
        size = self._block_tokens
        keys: list[int] = []
        for end in range(size, len(token_ids) + 1, size):
            keys.append(_key(keys[-1] if keys else 0, token_ids[end - size : end], adapter))
        for text, end_tokens in zip(prefix.hashes, prefix.ends_tokens, strict=True) if keys else ():
            share = min(1.0, end_tokens / max(1, prompt_tokens))
            number = min(len(keys), max(1, math.ceil(share * len(token_ids) / size)))
            self._watch(text, keys[number - 1])
        while len(self._key_of) > MAX_TEXTS:
            text, key = self._key_of.popitem(last=False)
            self._unwatch(text, key)

    def _watch(self, text: int, key: int) -> None:
        before = self._key_of.get(text)
        if before is not None and before != key:
            self._unwatch(text, before)
        self._key_of[text] = key
        self._key_of.move_to_end(text)
        self._texts.setdefault(key, set()).add(text)
        self._touched.add(text)

    def _unwatch(self, text: int, key: int) -> None:
        self._touched.add(text)
        self._texts[key].discard(text)
        if not self._texts[key]:
            del self._texts[key]

    def _store(self, event: BlockStored) -> None:
        size = event.block_size
        if not self._block_tokens:
            self._block_tokens = size
            early, self._early = self._early, []
            for prompt in early:
                self._place(*prompt)
        num_blocks, extras = len(event.block_hashes), event.extra_keys
        is_whole = len(event.token_ids) == size * num_blocks and (not extras or len(extras) == num_blocks)
        if size != self._block_tokens or not is_whole:
            raise RequestFailed(f"vLLM keeps blocks of {size} tokens and of {self._block_tokens}, or parts of some")
        if len(self._present) + num_blocks > MAX_STORED:
            raise RequestFailed(f"vLLM keeps more than {MAX_STORED:,} blocks")
        if len(self._keys) > len(self._present) + MAX_GONE:
            self._keys = {each: key for each, key in self._keys.items() if each in self._present}
        key: int | None = 0
        if event.parent_block_hash is not None:
            key = self._keys.get(event.parent_block_hash)
        if key is not None:  # else it was removed long ago: nobody will find what comes after it
            self._add(event, key)

    def _add(self, event: BlockStored, key: int) -> None:
        for number, block_hash in enumerate(event.block_hashes):
            tokens = event.token_ids[number * event.block_size : (number + 1) * event.block_size]
            key = _key(key, tokens, _extra(event, number))
            self._keys[block_hash] = key
            self._present[block_hash] += 1
            if self._present[block_hash] == 1:
                self._stored[key] += 1
                self._touched.update(self._texts.get(key, ()))

    def _remove(self, block_hash: BlockHash) -> None:
        if block_hash not in self._present:
            return
        self._present[block_hash] -= 1
        if self._present[block_hash]:
            return
        del self._present[block_hash]
        key = self._keys[block_hash]
        self._stored[key] -= 1
        if not self._stored[key]:
            del self._stored[key]
            self._touched.update(self._texts.get(key, ()))

    def _clear(self) -> None:
        for key in self._stored:
            self._touched.update(self._texts.get(key, ()))
        for kept in (self._present, self._stored, self._keys):
            kept.clear()


def _extra(event: BlockStored, number: int) -> object:
    """Return what else tells a block apart than tokens: its adapter's name where that is all, None for nothing."""
    keys = tuple(event.extra_keys[number] or ()) if event.extra_keys else ()
    if event.lora_name is not None and keys[:1] == (event.lora_name,):  # vLLM names it in both
        keys = keys[1:]
    return (event.lora_name, keys) if keys else event.lora_name


def _key(before: int, token_ids: Sequence[int], extra: object) -> int:
    """Return what stands for these tokens after those that `before` stands for, and for what else tells them apart."""
    key = xxh3_64_intdigest(array("I", token_ids).tobytes(), before)
    return key if extra is None else xxh3_64_intdigest(repr(extra).encode(), key)
