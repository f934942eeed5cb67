"""Prompts of the lengths, and with the common beginnings, that a trace tells of. Pure; knows no server.

A trace holds no text. A block of it becomes words drawn by the block's name: equal names, equal words, and so equal
beginnings. How many words make a token is the tokenizer's affair: it is found out from what the server counts.
"""

import re
from dataclasses import dataclass
from random import Random

from benchmarks.simulator.arrival import Arrival

# Common short words: a token each in most vocabularies, also in small ones a few at most.
_TEXT = """
the of and to in is was for on that by this with from at his her not are but had have one all new more an they which
you been has when who will no if out so said what up its about into than them can only other time
"""
_WORDS = tuple(re.findall("[a-z]+", _TEXT))


@dataclass(frozen=True, slots=True)
class TokenRate:
    """A prompt of n words has `fixed + n * per_word` tokens: the chat template's, and the words' own."""

    per_word: float
    fixed: float

    def words(self, tokens: float) -> int:
        """Return how many words make so many tokens, without the template's."""
        return max(0, round(tokens / self.per_word))


def rate_of(short: tuple[int, int], long: tuple[int, int]) -> TokenRate:
    """Return the rate that two prompts show, each (words, tokens).

    >>> rate_of((10, 25), (20, 40))
    TokenRate(per_word=1.5, fixed=10.0)
    """
    per_word = max(0.1, (long[1] - short[1]) / (long[0] - short[0]))
    return TokenRate(per_word, max(0.0, short[1] - short[0] * per_word))


def text_of(num_words: int, name: str) -> str:
    """Return words that depend on `name` alone; more words begin with fewer.

    >>> text_of(5, "a").startswith(text_of(3, "a"))
    True
    """
    rng = Random(name)
    return "".join(f"{rng.choice(_WORDS)} " for _ in range(num_words))


def whole_blocks(arrival: Arrival, rate: TokenRate) -> tuple[int, ...]:
    """Return the blocks of which a prompt has all words: the template takes the place of the last where that is short.

    >>> whole_blocks(Arrival(0.0, 33, 1, (1, 2, 3), 10), TokenRate(1.0, 4.0))
    (1, 2)
    """
    per_block = rate.words(arrival.block_tokens)
    return arrival.blocks[: _num_words(arrival, rate) // per_block] if per_block else ()


def _num_words(arrival: Arrival, rate: TokenRate) -> int:
    return max(1, rate.words(arrival.prompt_tokens - rate.fixed))


def prompt_of(arrival: Arrival, number: int, rate: TokenRate, *, seed: int | str) -> str:
    """Return the prompt of the trace's request `number`: its blocks, then words that no other request has."""
    per_block, blocks = rate.words(arrival.block_tokens), whole_blocks(arrival, rate)
    whole = [text_of(per_block, f"{seed} block {block}") for block in blocks]
    rest = _num_words(arrival, rate) - per_block * len(blocks)
    return "".join([*whole, text_of(rest, f"{seed} request {number}")]).rstrip()
