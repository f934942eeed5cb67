"""The texts that benchmarks read: the King James Bible where the data folder holds it, else generated ones.

Knows nothing of what is measured on them.
"""

import gzip
import os
import re
from bisect import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from random import Random

_WORDS_A_LINE = 9
_KJV = Path("text") / "kjv.txt.gz"

words_of = re.compile(r"[a-z']+").findall
"""The user function of the word count: the words of a line in lower case."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Lines in lower case, none empty. `name` says which text it is, `num_words` how many words all lines hold."""

    name: str
    lines: tuple[str, ...]
    num_words: int

    def first(self, num_words: int) -> "Corpus":
        """Return the shortest beginning, in whole lines, of at least `num_words` words, or everything."""
        ends = list(accumulate(len(words_of(line)) for line in self.lines))
        num_lines = min(len(ends), bisect(ends, num_words - 1) + 1)
        return Corpus(self.name, self.lines[:num_lines], ends[num_lines - 1] if num_lines else 0)


def data_folder(environ: Mapping[str, str]) -> Path:
    """Return where benchmark data is: `$SAGE_DATA`, else `../shared/data` beside the tree."""
    named = environ.get("SAGE_DATA")
    return Path(named) if named else Path(__file__).parents[2] / "shared" / "data"


def load_corpus(num_words: int | None, *, seed: int, environ: Mapping[str, str] = os.environ) -> Corpus:
    """Return the Bible's text, at most its first `num_words` words; where it is absent or too short, generated text."""
    path = data_folder(environ) / _KJV
    if path.is_file():
        with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
            corpus = corpus_of("kjv", (line.strip().lower() for line in file))
        if num_words is None or num_words <= corpus.num_words:
            return corpus if num_words is None else corpus.first(num_words)
    return zipf_corpus(num_words or 600_000, seed=seed)


def zipf_corpus(num_words: int, *, seed: int, num_distinct: int = 13_000) -> Corpus:
    """Return text whose words are as frequent as Zipf's law (exponent 1) says: like a language, and the same a seed."""
    rng = Random(seed)
    names = [_word(rank) for rank in range(num_distinct)]
    weights = list(accumulate(1.0 / (rank + 1) for rank in range(num_distinct)))
    words = rng.choices(names, cum_weights=weights, k=num_words)
    lines = (" ".join(words[at : at + _WORDS_A_LINE]) for at in range(0, num_words, _WORDS_A_LINE))
    return corpus_of(f"zipf({num_distinct}, seed {seed})", lines)


def corpus_of(name: str, lines: Iterable[str]) -> Corpus:
    """Return a corpus of those `lines` that are not empty."""
    kept = tuple(filter(None, lines))
    return Corpus(name, kept, sum(len(words_of(line)) for line in kept))


def passages(lines: Iterable[str], *, num_chars: int) -> list[str]:
    """Join lines into texts of about `num_chars` characters each; an end that is shorter is left out."""
    texts: list[str] = []
    held = ""
    for line in lines:
        held = f"{held} {line}" if held else line
        if len(held) >= num_chars:
            texts.append(held)
            held = ""
    return texts


def _word(rank: int) -> str:
    """Return a word of letters for a rank: the rank in base 26, so that frequent words are short."""
    letters = ""
    rank += 1
    while rank:
        rank, digit = divmod(rank - 1, 26)
        letters = chr(ord("a") + digit) + letters
    return letters
