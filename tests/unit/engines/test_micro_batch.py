"""Which texts are embedded together."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.serving.engines.micro_batch import BUDGET_TOKENS, max_texts, next_texts, padded_length, shapes

_LENGTHS = st.lists(st.integers(1, 256), min_size=1, max_size=128)


@given(_LENGTHS)
def test_the_oldest_text_always_goes_and_none_goes_twice(lengths: list[int]) -> None:
    chosen = next_texts(lengths)
    assert chosen[0] == 0
    assert len(set(chosen)) == len(chosen)


@given(_LENGTHS)
def test_every_go_has_a_shape_that_was_prepared_and_keeps_to_the_budget(lengths: list[int]) -> None:
    chosen = next_texts(lengths)
    padded = padded_length(max(lengths[n] for n in chosen))
    assert padded == padded_length(lengths[0])
    assert (len(chosen), padded) in set(shapes(256))
    assert len(chosen) * padded <= BUDGET_TOKENS


def test_texts_of_another_length_wait_for_a_go_of_their_own() -> None:
    assert next_texts([30, 200, 28, 5, 31, 29]) == [0, 2, 4, 5]


def test_very_short_texts_go_together() -> None:
    assert next_texts([1, 16, 3, 8]) == [0, 1, 2, 3]


@given(st.integers(1, 256))
def test_little_of_a_shape_is_padding(length: int) -> None:
    assert length <= padded_length(length) < length + 32
    assert max_texts(padded_length(length)) >= 1
