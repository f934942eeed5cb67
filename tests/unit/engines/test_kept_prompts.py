"""What of our prompts a vLLM server keeps, by what it publishes of its blocks."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.serving.engines import kept_prompts
from cluster.serving.engines.kept_prompts import KeptChange, KeptPrompts
from cluster.serving.engines.kv_events import AllBlocksCleared, BlockRemoved, BlockStored
from cluster.serving.size import PromptPrefix, TextSizing
from sage.base.errors import RequestFailed
from sage.base.ids import RequestId
from sage.base.inference import GenerateRequest

BLOCK = 4
PREFIX = PromptPrefix((11, 22, 33), (4, 8, 12))
TOKENS = tuple(range(100, 114))  # three blocks of the server, and two tokens


def stored(tokens: Sequence[int], hashes: Sequence[int], parent: int | None = None) -> BlockStored:
    return BlockStored(tuple(hashes), parent, tuple(tokens), BLOCK)


def sorted_change(change: KeptChange) -> tuple[list[int], list[int]]:
    return sorted(change.stored), sorted(change.removed)


@pytest.mark.parametrize("is_prompt_first", [True, False], ids=["prompt", "blocks"])
def test_a_block_of_ours_is_kept_with_the_block_it_ends_in(is_prompt_first: bool) -> None:
    kept = KeptPrompts()
    blocks = [stored(TOKENS[:8], (1, 2)), stored(TOKENS[8:12], (3,), 2)]
    if is_prompt_first:
        kept.prompted(PREFIX, 14, TOKENS)
        kept.take(blocks)
    else:
        kept.take(blocks)
        kept.prompted(PREFIX, 14, TOKENS)
    assert sorted_change(kept.changes()) == ([11, 22, 33], [])
    assert kept.changes() == KeptChange()
    kept.take([BlockRemoved((3,))])
    assert sorted_change(kept.changes()) == ([], [33])
    kept.take([stored(TOKENS[8:12], (3,), 2)])
    assert sorted_change(kept.changes()) == ([33], [])
    kept.take([AllBlocksCleared()])
    assert sorted_change(kept.changes()) == ([], [11, 22, 33])


def test_the_same_tokens_after_others_or_of_another_adapter_are_another_block() -> None:
    kept = KeptPrompts()
    other = BlockStored((5,), None, TOKENS[:4], BLOCK, lora_name="french")
    salted = BlockStored((6,), None, TOKENS[:4], BLOCK, extra_keys=(("salt",),))
    kept.take([stored(range(4), (1,)), stored(TOKENS[:4], (2,), 1), other, salted])
    kept.prompted(PREFIX, 14, TOKENS)
    assert sorted_change(kept.changes()) == ([], [11, 22, 33])  # said, since they were believed to come
    kept.take([stored(TOKENS[:4], (9,))])
    assert sorted_change(kept.changes()) == ([11], [])


def test_a_prompt_shorter_than_a_block_is_not_kept() -> None:
    kept = KeptPrompts()
    kept.take([stored(range(4), (1,))])
    kept.prompted(PromptPrefix((7,), (2,)), 2, (100, 101))
    assert kept.changes() == KeptChange((), (7,))


@pytest.mark.parametrize(
    "event",
    [
        BlockStored((2,), None, tuple(range(3)), BLOCK),
        BlockStored((2,), None, (1,), 1),
        BlockStored((2,), None, tuple(range(4)), BLOCK, extra_keys=(None, None)),
    ],
    ids=["tokens", "size", "extras"],
)
def test_blocks_that_do_not_fit_to_what_was_told_end_it(event: BlockStored) -> None:
    kept = KeptPrompts()
    kept.take([stored(range(4), (1,))])
    with pytest.raises(RequestFailed):
        kept.take([event])


def test_a_block_that_is_kept_in_two_places_is_gone_once_both_are() -> None:
    kept = KeptPrompts()
    kept.take([stored(TOKENS[:4], (1,)), stored(TOKENS[:4], (1,))])
    kept.prompted(PromptPrefix((7,), (4,)), 4, TOKENS[:4])
    assert kept.changes() == KeptChange((7,))
    kept.take([BlockRemoved((1,))])
    assert kept.changes() == KeptChange()
    kept.take([BlockRemoved((1,)), BlockRemoved((1,))])
    assert kept.changes() == KeptChange((), (7,))


def test_what_comes_after_a_block_that_is_not_known_is_passed_over() -> None:
    kept = KeptPrompts()
    kept.take([stored(range(4), (1,)), stored(TOKENS[:4], (2,), 77), BlockRemoved((2, 78))])
    kept.prompted(PREFIX, 14, TOKENS)
    assert sorted_change(kept.changes()) == ([], [11, 22, 33])


def test_tokens_are_asked_for_until_every_block_of_the_text_is_known() -> None:
    kept = KeptPrompts()
    assert kept.asks_tokens(PREFIX)
    kept.take([stored(TOKENS[:8], (1, 2))])
    kept.prompted(PREFIX, 14, TOKENS)
    assert not kept.asks_tokens(PREFIX)
    assert kept.asks_tokens(PromptPrefix((11, 22, 99), (4, 8, 12)))
    assert sorted_change(kept.changes()) == ([11, 22], [33])
    kept.prompted(PREFIX, 14, ())
    assert kept.changes() == KeptChange((), (33,)), "what became of a prompt is always said"


def test_after_it_began_again_what_is_stored_then_is_told_of_texts_known_before() -> None:
    kept = KeptPrompts()
    kept.take([stored(TOKENS[:8], (1, 2))])
    kept.prompted(PREFIX, 14, TOKENS)
    kept.begin_again()
    assert kept.changes() == KeptChange()
    kept.take([stored(TOKENS[:4], (1,))])
    assert kept.changes() == KeptChange((11,))


def test_texts_that_were_not_asked_for_of_late_are_not_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_prompts, "MAX_TEXTS", 2)
    kept = KeptPrompts()
    kept.take([stored(TOKENS[:8], (1, 2))])
    kept.prompted(PromptPrefix((1, 2), (4, 8)), 8, TOKENS[:8])
    assert sorted_change(kept.changes()) == ([1, 2], [])
    assert not kept.asks_tokens(PromptPrefix((1,), (4,)))
    kept.prompted(PromptPrefix((3,), (4,)), 4, TOKENS[:4])
    assert sorted_change(kept.changes()) == ([3], [2])


def test_a_server_with_more_blocks_than_are_followed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_prompts, "MAX_STORED", 1)
    kept = KeptPrompts()
    with pytest.raises(RequestFailed, match="more than 1 blocks"):
        kept.take([stored(TOKENS[:8], (1, 2))])


def test_tenants_learn_nothing_of_what_the_server_keeps_of_others() -> None:
    ours, theirs = (GenerateRequest(RequestId("r"), "m", "x" * 512, tenant=tenant) for tenant in ("a", "b"))
    kept, sizing = KeptPrompts(), TextSizing()
    kept.take([stored(TOKENS[:4], (1,))])
    kept.prompted(sizing.prefix(ours), 128, TOKENS[:4])
    assert kept.changes() == KeptChange(sizing.prefix(ours).hashes)
    assert set(sizing.prefix(theirs).hashes).isdisjoint(sizing.prefix(ours).hashes)


def texts_of(prompt: int) -> tuple[int, ...]:
    return (1000 + prompt // 2, 2000 + prompt, 3000 + prompt)


def tokens_of(prompt: int) -> tuple[int, ...]:
    return tuple(token for text in texts_of(prompt) for token in (text, 1, 2, 3))


def tell(kept: KeptPrompts, told: set[int]) -> None:
    change = kept.changes()
    assert told.isdisjoint(change.stored), "nothing is told twice"
    told.update(change.stored)
    told.difference_update(change.removed)


Step = tuple[str, int, int]
"""What, of which prompt, how many of its blocks or which."""


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["prompt", "store", "remove", "clear", "tell"]), st.integers(0, 5), st.integers(1, 3)
        ),
        max_size=60,
    )
)
def test_what_was_told_is_what_is_stored_of_the_prompts_that_were_asked(steps: list[Step]) -> None:
    """Six prompts of three blocks, of which each two have the first in common."""
    kept, told, asked = KeptPrompts(), set[int](), set[int]()
    places: Counter[int] = Counter()  # of a block of the server, by the number of its text
    for what, which, blocks in steps:
        if what == "prompt":
            kept.prompted(PromptPrefix(texts_of(which), (4, 8, 12)), 12, tokens_of(which))
            asked.update(texts_of(which))
        elif what == "store":
            kept.take([stored(tokens_of(which)[: 4 * blocks], texts_of(which)[:blocks])])
            places.update(texts_of(which)[:blocks])
        elif what == "remove":
            text = texts_of(which)[blocks - 1]
            kept.take([BlockRemoved((text,))])
            places[text] = max(0, places[text] - 1)
        elif what == "clear":
            kept.take([AllBlocksCleared()])
            places.clear()
        else:
            tell(kept, told)
    tell(kept, told)
    assert told == {text for text in asked if places[text]}


def test_blocks_of_an_adapter_are_kept_for_its_prompts_alone() -> None:
    kept = KeptPrompts()
    kept.prompted(PREFIX, 14, TOKENS, "french")
    other = PromptPrefix((44, 55, 66), (4, 8, 12))
    kept.prompted(other, 14, TOKENS)
    kept.changes()
    names = ("french",)
    kept.take([BlockStored((5, 6), None, TOKENS[:8], BLOCK, lora_name="french", extra_keys=(names, names))])
    assert sorted_change(kept.changes()) == ([11, 22], [])
    kept.take([stored(TOKENS[:4], (7,))])
    assert sorted_change(kept.changes()) == ([44], [])
