"""The examples run as they are."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from cluster.client.nodes_here import nodes_here
from sage.base.settings import EngineSettings, Settings
from sage.flow.runner import JobStatus
from tests.cluster.chat_ask import DEADLINE_S, ask
from tests.cluster.waiting import eventually
from tests.unit.web.posting import Posting, post

EXAMPLES = Path(__file__).parents[3] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_run_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {
        "word_count",
        "all_cores",
        "ask_files",
        "enrich",
        "rag_bot",
        "best_lines",
        "take_orders",
    }


def test_words_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("To be or\nnot to be\n")
    (tmp_path / "b.txt").write_text("be\n")
    counts = load("word_count").word_count(str(tmp_path / "*.txt"))
    assert counts == [("be", 3), ("to", 2), ("not", 1), ("or", 1)]


def test_orders_that_are_posted_are_added_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses: list[int] = []

    def send(url: str) -> None:
        orders = ({"customer": "ann", "total": 2.5}, {"customer": "ann"}, {"customer": "ann", "total": 4})
        statuses.extend(post(url, order).status_code for order in orders)

    monkeypatch.setattr(sys, "stderr", Posting(send))
    load("take_orders").take_orders(0, str(tmp_path / "kept"), 2)
    assert statuses == [202, 400, 202]
    assert capsys.readouterr().out.splitlines() == ["('ann', 2.5)", "('ann', 6.5)"]


@pytest.mark.cluster
def test_words_are_counted_on_two_processes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("To be or\nnot to be\n")
    counts = load("all_cores").word_count(str(tmp_path / "*.txt"), 2)
    assert counts == [("be", 2), ("to", 2), ("not", 1), ("or", 1)]


def test_files_are_described_in_order_and_what_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.txt" for number in range(20)]
    for number, path in enumerate(paths):
        path.write_text("x" * number)
    asked = [*map(str, paths[:10]), str(tmp_path / "gone.txt"), *map(str, paths[10:])]
    errors = load("enrich").enrich(asked, str(tmp_path / "out.jsonl"))
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["path"] for line in lines] == list(map(str, paths))
    assert [line["len_bytes"] for line in lines] == list(range(20))
    assert len(errors) == 1
    assert "gone.txt" in errors[0]


@pytest.mark.engines
def test_files_are_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ops.md").write_text("The staging database is called otter.")
    (tmp_path / "release.md").write_text("Releases are cut on Tuesdays.")
    load("ask_files").ask_files(str(tmp_path / "*.md"), "When do we release?").run()
    answer, sources = capsys.readouterr().out.rsplit("\n--", 1)
    assert answer.strip()
    assert sources.split(", ")[0].strip().endswith("release.md")


@pytest.mark.engines
def test_the_lines_that_answer_a_question_best_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("The sea is wide.\n\nWe release on Tuesdays.\n")
    (tmp_path / "b.md").write_text("Snakes eat mice.\nThe staging database is called otter.\n")
    (tmp_path / "empty.md").write_text("\n")
    best = load("best_lines").best_lines(str(tmp_path / "*.md"), "When do we release?", k=2)
    assert len(best) == 2
    assert best[0][1:] == (str(tmp_path / "a.md"), "We release on Tuesdays.")
    assert best[0][0] > best[1][0]


@pytest.mark.cluster
def test_notes_are_asked_as_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("The staging database is called otter.\n\nReleases are cut on Tuesdays.\n")
    engines = tuple(
        EngineSettings(name=name, kind="simulated", target="h100", model=name) for name in ("minilm", "smollm2")
    )
    with nodes_here(1, settings=Settings(engines=engines)) as cluster:
        job = cluster.submit(load("rag_bot").flow)
        eventually(lambda: job.status is JobStatus.RUNNING, DEADLINE_S)
        assert ask(cluster, "rag-bot", "Releases are cut on Tuesdays.").text.startswith("simulated")
        assert ask(cluster, "rag-bot", "Who was Ada?").text
        job.cancel()
