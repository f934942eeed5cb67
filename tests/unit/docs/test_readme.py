"""Every snippet of README.md runs as it stands."""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from sage.flow.graph import TurnRole
from sage.flow.turns import chats_of
from tests.http.command import serve

README = Path(__file__).parents[3] / "README.md"
SNIPPETS = dict(
    re.findall(r"<!-- runs: ([a-z ]+) -->\n```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
)


def run(name: str, tmp_path: Path, changes: Mapping[str, str] = MappingProxyType({})) -> None:
    """Run a snippet as a program; `changes` are what the machine decides, as a port."""
    source = SNIPPETS[name]
    for written, real in changes.items():
        assert written in source
        source = source.replace(written, real)
    exec(compile(source, str(tmp_path / f"{name}.py"), "exec"), {"__name__": "__main__"})


def test_every_python_snippet_says_which_test_runs_it() -> None:
    num_python = README.read_text(encoding="utf-8").count("```python\n")
    assert set(SNIPPETS) == {"word count", "model steps", "gateway", "a flow as a model"}
    assert len(SNIPPETS) == num_python


def test_the_word_count_counts_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("word count", tmp_path)
    assert capsys.readouterr().out == "[('be', 2), ('not', 1), ('or', 1), ('to', 2)]\n"


@pytest.mark.engines
def test_the_model_steps_answer_from_the_right_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("model steps", tmp_path)
    assert capsys.readouterr().out.strip().endswith("release.md")


def test_the_flow_answers_as_a_model() -> None:
    scope: dict[str, Any] = {}
    exec(compile(SNIPPETS["a flow as a model"], "rag_bot.py", "exec"), scope)
    graph = scope["flow"].graph()
    assert chats_of(graph) == {"rag-bot": "from_chat"}
    assert next(step for step in graph.steps if step.name == "generate").turns is TurnRole.SPEAKS


@pytest.mark.engines
def test_the_gateway_answers_openais_client(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(directory=tmp_path) as gateway:
        run("gateway", tmp_path, {"http://127.0.0.1:8000": gateway.url})
    assert capsys.readouterr().out.strip()
