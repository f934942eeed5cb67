"""The examples of docs/client.md run as they stand; simulated engines stand for the models of the catalogue."""

from pathlib import Path

import pytest

from tests.unit.docs.examples import run_examples

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
    assert run_examples("client.md") == 2
    printed = capsys.readouterr().out
    assert "length 40 chat" in printed
    assert "Usage(prompt_tokens=" in printed
