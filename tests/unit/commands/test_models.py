"""`sage models` and the offer to pull what is missing."""

import io
import json
import sys
from pathlib import Path

import pytest

from cluster.commands.pull import Lines, ensure_models
from cluster.serving.model_fetch import OnBytes
from cluster.serving.model_store import ModelStore, PullProgress
from sage.base.catalog import Wheel
from sage.base.errors import ModelMissing, UnknownModel
from sage.cli import main


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAGE_MODELS_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


class CountingStore(ModelStore):
    """A store over nothing that notes what was pulled."""

    def __init__(self, cache_dir: Path) -> None:
        super().__init__(cache_dir, download=self._refuse)
        self.pulled: list[str] = []

    def pull(self, name: str, on_progress: object = None) -> bool:
        self.pulled.append(name)
        return True

    @staticmethod
    def _refuse(wheel: Wheel, into: Path, on_bytes: OnBytes) -> Path:
        raise ModelMissing("nothing is downloaded here")


def test_models_that_are_not_here_are_listed_as_missing(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    assert main(["models", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {model["name"]: model["state"] for model in found} == {"smollm2": "missing", "minilm": "missing"}
    assert found[0]["path"] == str(cache / "smollm2")


def test_the_table_has_a_line_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split()[:2] == ["NAME", "STATE"]
    assert [line.split()[:2] for line in lines] == [["smollm2", "missing"], ["minilm", "missing"]]


@pytest.mark.parametrize("verb", ["pull", "rm"])
def test_an_unknown_model_is_refused_by_name(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", verb, "smolm2"]) == 1
    assert "Did you mean smollm2?" in capsys.readouterr().err


def test_removing_what_is_not_here_fails_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "rm", "minilm"]) == 1
    assert "minilm was not on this machine" in capsys.readouterr().err


def test_where_nobody_can_be_asked_a_missing_model_is_an_error_that_names_it(cache: Path) -> None:
    store = CountingStore(cache)
    with pytest.raises(ModelMissing, match="sage models pull smollm2 minilm"):
        ensure_models(["smollm2", "minilm", "smollm2"], interactive=False, store=store)
    assert store.pulled == []


@pytest.mark.parametrize("answer", ["\n", "y\n", "Yes\n"])
def test_at_a_terminal_the_pull_is_offered(
    cache: Path, answer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    store = CountingStore(cache)
    ensure_models(["minilm"], interactive=True, store=store)
    assert store.pulled == ["minilm"]
    assert "minilm (104.5 MB to download)" in capsys.readouterr().err


@pytest.mark.parametrize("answer", ["n\n", "what?\n", ""])
def test_a_pull_that_is_declined_is_an_error(cache: Path, answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    store = CountingStore(cache)
    with pytest.raises(ModelMissing):
        ensure_models(["minilm"], interactive=True, store=store)
    assert store.pulled == []


def test_an_unknown_model_is_never_offered(cache: Path) -> None:
    with pytest.raises(UnknownModel):
        ensure_models(["qwen"], interactive=True, store=CountingStore(cache))


def test_progress_elsewhere_than_on_a_terminal_is_a_line_a_quarter(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for done in (0, 1, 26, 49, 80, 100, 100):
        lines(PullProgress("tiny", done, 100))
    assert [line.split(" of")[0] for line in capsys.readouterr().err.splitlines()] == [
        "tiny: 0 %",
        "tiny: 25 %",
        "tiny: 75 %",
        "tiny: 100 %",
    ]
