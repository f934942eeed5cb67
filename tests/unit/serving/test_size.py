"""What requests weigh, and the blocks of their prompts."""

from cluster.serving.size import BLOCK_BYTES, NUM_EVEN_BLOCKS, PromptPrefix, TextSizing
from sage.base.ids import RequestId
from sage.base.inference import ChatMessage, ChatRequest, GenerateRequest
from tests.unit.serving.arrange import chat, embed

SIZING = TextSizing()


def raw(prompt: str, tenant: str = "default") -> GenerateRequest:
    return GenerateRequest(RequestId("r"), "chat", prompt, tenant=tenant)


def prefix(prompt: str, tenant: str = "default") -> PromptPrefix:
    return SIZING.prefix(raw(prompt, tenant))


def test_a_size_is_a_token_for_four_characters_and_the_longest_answer() -> None:
    assert SIZING.size(chat("a", num_characters=400, max_tokens=50)).total_tokens == 151
    assert SIZING.size(chat("a", num_characters=0, max_tokens=None)).total_tokens == 257
    assert SIZING.size(embed("a", 3)).total_tokens == 4


def test_prompts_that_begin_alike_share_the_blocks_that_are_alike_and_no_more() -> None:
    one, other = prefix("a" * 1500 + "b" * 1500), prefix("a" * 1500 + "c" * 1500)
    assert one.hashes[:2] == other.hashes[:2]
    assert not set(one.hashes[2:]) & set(other.hashes[2:])
    assert one.ends_tokens[:3] == (128, 256, 384)


def test_a_block_stands_for_all_that_is_before_it() -> None:
    block = "x" * BLOCK_BYTES
    assert len(set(prefix(block * 3).hashes)) == 3


def test_tenants_share_no_block() -> None:
    assert not set(prefix("x" * 5000, "a").hashes) & set(prefix("x" * 5000, "b").hashes)


def test_what_is_left_behind_the_last_whole_block_is_in_none() -> None:
    assert prefix("x" * (BLOCK_BYTES - 1)) == PromptPrefix()
    assert prefix("x" * BLOCK_BYTES) == prefix("x" * (BLOCK_BYTES + 100))


def test_the_next_turn_of_a_conversation_has_the_blocks_of_the_one_before() -> None:
    turn = ChatRequest(RequestId("r"), "chat", (ChatMessage("user", "x" * 3000),))
    more = (*turn.messages, ChatMessage("assistant", "y" * 3000), ChatMessage("user", "z"))
    before, after = SIZING.prefix(turn), SIZING.prefix(ChatRequest(RequestId("s"), "chat", more))
    assert after.hashes[: len(before.hashes)] == before.hashes
    assert SIZING.session(turn) == SIZING.session(ChatRequest(RequestId("s"), "chat", more))


def test_a_very_long_prompt_has_few_blocks() -> None:
    assert NUM_EVEN_BLOCKS < len(prefix("x" * 10_000_000).hashes) < NUM_EVEN_BLOCKS + 16


def test_embeddings_have_no_prefix() -> None:
    assert SIZING.prefix(embed("a", 4)) == PromptPrefix()


def test_a_text_that_is_no_valid_unicode_is_measured_too() -> None:
    assert len(prefix("\ud800" * 600).hashes) == 3


def test_a_prefix_of_one_adapter_is_none_of_another() -> None:
    sizing = TextSizing()
    texts = [sizing.prefix(chat(model, model=model, num_characters=2_000)).hashes for model in ("chat", "sql", "law")]
    assert all(texts)
    assert len({text for hashes in texts for text in hashes}) == sum(map(len, texts))
