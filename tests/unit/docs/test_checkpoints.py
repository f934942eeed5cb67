"""The example of docs/checkpoints.md runs as it stands."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "checkpoints.md"


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert snippets
    for number, snippet in enumerate(snippets):
        exec(compile(snippet, f"checkpoints_{number}.py", "exec"), {"__name__": "__main__"})
