"""Find the lines of text files that answer a question best: python examples/best_lines.py "docs/*.md" "How?".

A model scores how well each line answers the question. One that embeds compares vectors; give `--model` the name of a
cross-encoder that an engine serves, and it reads question and line together.
"""

import argparse
import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sage


def lines_of(path: str) -> list[str]:
    """Return the lines of a file that say something."""
    return [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]


def with_path(record: dict[str, Any]) -> Iterator[tuple[float, str, str]]:
    for passage in record["best"]:
        yield passage.score, record["path"], passage.text


def best_lines(pattern: str, question: str, *, k: int = 3, model: str = "minilm") -> list[tuple[float, str, str]]:
    """Return score, path and text of the `k` lines of all files that answer `question` best."""
    flow = sage.Flow("best-lines")
    files: list[dict[str, Any]] = [{"path": path} for path in sorted(glob.glob(pattern, recursive=True))]
    ranked = flow.from_collection(files).rerank(
        model=model,
        query=lambda record: question,
        passages=lambda record: lines_of(record["path"])[:1000],
        k=k,
        into="best",
    )
    found = ranked.flat_map(with_path).collect()
    flow.run()
    return sorted(found.items, reverse=True)[:k]


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("pattern")
    options.add_argument("question")
    options.add_argument("--model", default="minilm")
    given = options.parse_args()
    for score, path, text in best_lines(given.pattern, given.question, model=given.model):
        print(f"{score:.2f} {path}: {text}")
