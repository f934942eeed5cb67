"""Pieces of text from token ids, with a tokenizer whose tokens are bytes or words."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.serving.engines.detokenise import Tail, next_pieces


def _decode_bytes(rows: list[list[int]]) -> list[str]:
    return [bytes(row).decode("utf-8", "ignore") for row in rows]


def _decode_words(rows: list[list[int]]) -> list[str]:
    """As SentencePiece: every token brings its space, but the first of a row loses it."""
    return ["".join(f" w{id}" for id in row).removeprefix(" ") for row in rows]


@given(st.text(max_size=40), st.lists(st.integers(1, 5), max_size=80))
def test_no_character_is_broken_lost_or_told_twice(text: str, sizes: list[int]) -> None:
    data, tail, told = text.encode(), Tail(), ""
    for size in [*sizes, len(data)]:
        tail.ids.extend(data[:size])
        data = data[size:]
        told += next_pieces([tail], _decode_bytes)[0]
        assert text.startswith(told)
    assert told == text


def test_leading_spaces_are_kept() -> None:
    tail, told = Tail(), []
    for id in (1, 2, 3):
        tail.ids.append(id)
        told += next_pieces([tail], _decode_words)
    assert "".join(told) == "w1 w2 w3"


def test_many_answers_are_told_apart_in_one_call() -> None:
    tails = [Tail([104]), Tail(), Tail([0xC3]), Tail([105, 33])]
    assert next_pieces(tails, _decode_bytes) == ["h", "", "", "i!"]
    tails[2].ids.append(0xA9)
    assert next_pieces(tails, _decode_bytes) == ["", "", "\N{LATIN SMALL LETTER E WITH ACUTE}", ""]


def test_tokens_that_never_give_text_are_not_kept_for_ever() -> None:
    tail = Tail()
    for _ in range(200):
        tail.ids.append(0x80)
        next_pieces([tail], _decode_bytes)
    assert len(tail.ids) <= 32
    tail.ids.append(ord("x"))
    assert next_pieces([tail], _decode_bytes) == ["x"]
