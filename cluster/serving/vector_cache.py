"""Vectors of texts that were embedded before, by tenant, model and content. Knows nothing of requests or engines.

Bounded in bytes. Where it is full, whoever holds most gives up what it used longest ago: a tenant with many texts
takes no other's place.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

_BYTES_AN_ENTRY = 250  # what Python keeps beside the vector: key, digest, value, two table slots


class TextKey(NamedTuple):
    """A text of a tenant for a model. `digest`: blake2b of the text, 16 bytes; a text cannot be guessed from it."""

    tenant: str
    model: str
    digest: bytes


class CachedVector(NamedTuple):
    """`vector`: float32 [dim], little-endian; `num_tokens` of the text, as its engine counted them."""

    vector: bytes
    num_tokens: int


@dataclass(slots=True)
class _Share:
    """What one tenant has here, used longest ago first."""

    entries: OrderedDict[TextKey, CachedVector] = field(default_factory=OrderedDict)
    num_bytes: int = 0


class VectorCache:
    """Least recently used, a share a tenant. Looking up costs O(1), adding O(1) until full, then O(tenants)."""

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes` 0: nothing is kept."""
        self._max_bytes = max_bytes
        self._shares: dict[str, _Share] = {}
        self.num_bytes = 0

    def __len__(self) -> int:
        return sum(len(share.entries) for share in self._shares.values())

    def get(self, key: TextKey) -> CachedVector | None:
        """Return what is known of a text, which counts as used now."""
        share = self._shares.get(key.tenant)
        found = None if share is None else share.entries.get(key)
        if share is not None and found is not None:
            share.entries.move_to_end(key)
        return found

    def put(self, key: TextKey, value: CachedVector) -> None:
        """Keep a vector; one larger than the whole cache is not kept."""
        num_bytes = _num_bytes(value)
        if num_bytes > self._max_bytes:
            return
        share = self._shares.setdefault(key.tenant, _Share())
        if key in share.entries:
            self._drop(key.tenant, key)
            share = self._shares.setdefault(key.tenant, _Share())
        share.entries[key] = value
        share.num_bytes += num_bytes
        self.num_bytes += num_bytes
        while self.num_bytes > self._max_bytes:
            tenant, largest = max(self._shares.items(), key=lambda held: held[1].num_bytes)
            self._drop(tenant, next(iter(largest.entries)))

    def clear(self) -> None:
        """Forget everything."""
        self._shares.clear()
        self.num_bytes = 0

    def _drop(self, tenant: str, key: TextKey) -> None:
        share = self._shares[tenant]
        num_bytes = _num_bytes(share.entries.pop(key))
        share.num_bytes -= num_bytes
        self.num_bytes -= num_bytes
        if not share.entries:
            del self._shares[tenant]

    def check(self) -> None:
        """Assert what always holds; for tests."""
        assert self.num_bytes == sum(share.num_bytes for share in self._shares.values()) <= self._max_bytes
        for share in self._shares.values():
            assert share.entries, "a tenant without vectors is forgotten"
            assert share.num_bytes == sum(map(_num_bytes, share.entries.values()))


def text_key(tenant: str, model: str, text: str, query: str | None = None) -> TextKey:
    """Return by what a text is known, or how it answers a `query`; half a surrogate pair is kept as it is."""
    key = _digest(text)
    return TextKey(tenant, model, key if query is None else blake2b(_digest(query) + key, digest_size=16).digest())


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _num_bytes(value: CachedVector) -> int:
    return len(value.vector) + _BYTES_AN_ENTRY
