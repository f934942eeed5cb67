"""Count the words of text files on several processes: python examples/all_cores.py "docs/*.md" 4."""

import os
import re
import sys

import sage

words_of = re.compile(r"[a-z']+").findall


def word_count(pattern: str, num_nodes: int) -> list[tuple[str, int]]:
    """Return the words of all files that match `pattern` with how often they occur, the most frequent first.

    Each of `num_nodes` processes cuts its share of the lines and counts its share of the words.
    """
    flow = sage.Flow("word-count")
    counts = (
        flow.read_text(pattern)
        .flat_map(lambda line: words_of(line.lower()))
        .with_parallelism(num_nodes)
        .key_by(lambda word: word)
        .with_parallelism(num_nodes)
        .count(final=True)
        .with_parallelism(num_nodes)
        .collect()
    )
    flow.run(f"local:{num_nodes}")
    return sorted(counts.items, key=lambda entry: (-entry[1], entry[0]))


if __name__ == "__main__":
    pattern = sys.argv[1] if len(sys.argv) > 1 else __file__
    num_nodes = int(sys.argv[2]) if len(sys.argv) > 2 else os.cpu_count() or 1
    for word, count in word_count(pattern, num_nodes)[:10]:
        print(f"{count:6}  {word}")
