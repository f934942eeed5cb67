"""The examples of a page of docs/, run in their order as they stand."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs"


def run_examples(page: str) -> int:
    """Run every Python example of a page as a program of its own; return how many there are."""
    examples = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    for number, example in enumerate(examples):
        exec(compile(example, f"{page}:{number}", "exec"), {"__name__": "__main__"})
    return len(examples)
