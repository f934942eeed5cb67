"""Count the words of text files: python examples/word_count.py "docs/*.md"."""

import re
import sys

import sage

words_of = re.compile(r"[a-z']+").findall


def word_count(pattern: str) -> list[tuple[str, int]]:
    """Return the words of all files that match `pattern` with how often they occur, the most frequent first."""
    flow = sage.Flow("word-count")
    counts = (
        flow.read_text(pattern)
        .flat_map(lambda line: words_of(line.lower()))
        .key_by(lambda word: word)
        .count(final=True)
        .collect()
    )
    flow.run()
    return sorted(counts.items, key=lambda entry: (-entry[1], entry[0]))


if __name__ == "__main__":
    for word, count in word_count(sys.argv[1] if len(sys.argv) > 1 else __file__)[:10]:
        print(f"{count:6}  {word}")
