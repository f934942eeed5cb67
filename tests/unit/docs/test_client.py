"""The examples of docs/client.md run as they stand; simulated engines stand for the models of the catalogue."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "client.md"
SETTINGS = """
[[engine]]
name = "chat"
kind = "simulated"
target = "h100"
model = "smollm2"

[[engine]]
name = "embed"
kind = "simulated"
target = "h100"
model = "minilm"
roles = ["embedding"]
"""


@pytest.mark.cluster
def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sage.toml").write_text(SETTINGS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(snippets) == 2
    for number, snippet in enumerate(snippets):
        exec(compile(snippet, f"client_{number}.py", "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    assert "length 40 chat" in printed
    assert "Usage(prompt_tokens=" in printed
