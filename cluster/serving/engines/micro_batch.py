"""Which waiting texts are embedded in one go, and in which shape. Knows no model; lengths are in tokens.

Shapes are few, so that all of them can be prepared at start: an unseen shape costs 4-6 ms more (measured 2026-11-22,
MiniLM int8 on two cores), twice the work of a short text. A go is about 512 tokens, 35 to 55 ms there: throughput grows
no further beyond it (13-15 thousand tokens/s at 16x32, 32x16, 64x8 and 128x4), and an urgent text waits no longer.
"""

from collections.abc import Iterator, Sequence

BUDGET_TOKENS = 512
MAX_TEXTS = 32
_LIKE_ENOUGH = 0.7  # shorter texts than this share of the shape's length would be mostly padding


def padded_length(length: int) -> int:
    """Return the length of the shape that `length` tokens are padded to.

    >>> [padded_length(n) for n in (1, 16, 17, 128, 129, 256)]
    [16, 16, 32, 128, 160, 256]
    """
    grain = 16 if length <= 128 else 32
    return -(-max(1, length) // grain) * grain


def max_texts(padded: int, budget_tokens: int = BUDGET_TOKENS) -> int:
    """Return how many texts of this padded length make a full go: a power of two.

    >>> [max_texts(n) for n in (16, 48, 128, 256, 1024)]
    [32, 8, 4, 2, 1]
    """
    return _power_of_two(min(MAX_TEXTS, budget_tokens // padded) or 1)


def next_texts(lengths: Sequence[int], budget_tokens: int = BUDGET_TOKENS) -> list[int]:
    """Return which of the waiting texts go next: positions in `lengths`, which is in order of arrival, not empty.

    The first always goes, whatever it takes of the budget, so that none starves; with it those a little shorter. Their
    number is a power of two.
    """
    padded = padded_length(lengths[0])
    like = [
        n for n in range(1, len(lengths)) if padded * _LIKE_ENOUGH <= lengths[n] <= padded or padded == 16 >= lengths[n]
    ]
    chosen = [0, *like[: max_texts(padded, budget_tokens) - 1]]
    return chosen[: _power_of_two(len(chosen))]


def shapes(max_length: int, budget_tokens: int = BUDGET_TOKENS) -> Iterator[tuple[int, int]]:
    """Give every (texts, padded length) that can come up for texts of up to `max_length` tokens."""
    for padded in sorted({padded_length(length) for length in range(1, max_length + 1)}):
        num = max_texts(padded, budget_tokens)
        while num:
            yield num, padded
            num //= 2


def _power_of_two(number: int) -> int:
    return 1 << (number.bit_length() - 1)
