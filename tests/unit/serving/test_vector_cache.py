"""Vectors are kept within a bound, each tenant's for itself."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.serving.vector_cache import CachedVector, VectorCache, text_key

ONE = 8 + 250  # bytes that a vector of two numbers takes


def vector(number: int) -> CachedVector:
    return CachedVector(number.to_bytes(8, "little"), number)


def test_a_vector_is_found_by_tenant_model_and_content() -> None:
    cache = VectorCache(10 * ONE)
    cache.put(text_key("ann", "minilm", "a text"), vector(1))
    assert cache.get(text_key("ann", "minilm", "a text")) == vector(1)
    assert cache.get(text_key("bob", "minilm", "a text")) is None
    assert cache.get(text_key("ann", "other", "a text")) is None
    assert cache.get(text_key("ann", "minilm", "a text ")) is None


def test_what_was_used_longest_ago_leaves_first() -> None:
    cache = VectorCache(2 * ONE)
    for number, text in enumerate("ab"):
        cache.put(text_key("ann", "minilm", text), vector(number))
    cache.get(text_key("ann", "minilm", "a"))
    cache.put(text_key("ann", "minilm", "c"), vector(2))
    found = [cache.get(text_key("ann", "minilm", text)) is not None for text in "abc"]
    assert found == [True, False, True]


def test_a_tenant_with_many_texts_takes_no_others_place() -> None:
    cache = VectorCache(10 * ONE)
    cache.put(text_key("quiet", "minilm", "mine"), vector(0))
    for number in range(100):
        cache.put(text_key("noisy", "minilm", str(number)), vector(number))
    assert cache.get(text_key("quiet", "minilm", "mine")) == vector(0)
    assert len(cache) == 10


def test_an_empty_cache_keeps_nothing_and_a_larger_vector_is_not_kept() -> None:
    none, small = VectorCache(0), VectorCache(ONE)
    none.put(text_key("ann", "minilm", "a"), vector(1))
    small.put(text_key("ann", "minilm", "a"), CachedVector(bytes(ONE), 1))
    assert (len(none), len(small)) == (0, 0)


def test_a_cleared_cache_knows_nothing() -> None:
    cache = VectorCache(10 * ONE)
    cache.put(text_key("ann", "minilm", "a"), vector(1))
    cache.clear()
    assert cache.get(text_key("ann", "minilm", "a")) is None
    cache.check()


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("mn"), st.integers(0, 9), st.integers(0, 300))))
def test_bytes_are_counted_and_bounded_whatever_comes(puts: list[tuple[str, str, int, int]]) -> None:
    cache = VectorCache(4 * ONE)
    for tenant, model, text, len_vector in puts:
        cache.put(text_key(tenant, model, str(text)), CachedVector(bytes(len_vector), 1))
        cache.check()
