"""Ask your own text files: python examples/ask_files.py "docs/*.md" "What is a chunk?"."""

import glob
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sage

MAX_CHARS = 700


def passages_of(path: str) -> Iterator[dict[str, str]]:
    """Yield the paragraphs of a file, short neighbours joined, with where they are from."""
    held = ""
    for paragraph in Path(path).read_text(encoding="utf-8").split("\n\n"):
        if held and len(held) + len(paragraph) > MAX_CHARS:
            yield {"text": held, "source": path}
            held = ""
        held = f"{held}\n\n{paragraph}".strip()
    if held:
        yield {"text": held, "source": path}


def ask_files(pattern: str, question: str) -> sage.Flow:
    """Return a flow that indexes the files, looks the question up and prints the answer token by token."""
    flow, files = sage.Flow("ask-files"), sage.Index("files")
    texts = flow.from_collection(sorted(glob.glob(pattern, recursive=True))).flat_map(passages_of)
    texts.embed(model="minilm", text="text", into="vector").index_into(files)

    asked: list[dict[str, Any]] = [{"question": question}]
    found = flow.from_collection(asked).embed(model="minilm", text="question", into="vector")
    found.retrieve(files, k=3).generate(
        model="smollm2",
        system="Answer in two sentences, from the passages that you are given.",
        prompt=lambda ask: "\n\n".join(passage.text for passage in ask["passages"]) + f"\n\n{ask['question']}",
        max_tokens=96,
        on_token=lambda ask, text: print(text, end="", flush=True),
        into="answer",
    ).for_each(lambda ask: print("\n--", ", ".join(dict.fromkeys(passage.source for passage in ask["passages"]))))
    return flow


if __name__ == "__main__":
    ask_files(sys.argv[1], sys.argv[2]).run()
