"""Result documents beside each other, and as pictures."""

from pathlib import Path

import msgspec
import pytest

from benchmarks.cli import app
from benchmarks.compare import compare
from benchmarks.document import Document, Hardware, read, write
from benchmarks.plots import page, pictures
from sage.base.errors import SourceUnreadable
from sage.cli import run_command
from tests.conftest import ROOT

PNG = b"\x89PNG"


def document(policy: str, *goodputs: list[float]) -> Document:
    rows = tuple(
        {
            "trace": f"t{number}",
            "policy": policy,
            "n": 100,
            "simulated": True,
            "goodput_tokens": sum(seeds) / len(seeds),
            "goodput_tokens_low": min(seeds),
            "goodput_tokens_high": max(seeds),
            "seeds": {"goodput_tokens": seeds},
        }
        for number, seeds in enumerate(goodputs)
    )
    return Document("policies", "abc", Hardware("a cpu", 2, 2**33, "Linux", "CPython", 0.0), 7, 1.5e9, rows)


def test_what_differs_between_whole_documents_is_compared_and_the_rest_must_be_alike() -> None:
    found = compare(document("fifo", [0.2, 0.2], [0.4, 0.6]), document("hybrid", [0.4, 0.4]))
    (tokens,) = [each for each in found if each.figure == "goodput_tokens"]
    assert tokens.kind == {"trace": "t0"}
    assert (tokens.ratio, tokens.low, tokens.high) == pytest.approx((2.0, 2.0, 2.0))


def test_an_interval_is_of_the_ratios_seed_by_seed() -> None:
    found = compare(document("fifo", [0.1, 0.2, 0.4]), document("hybrid", [0.2, 0.4, 1.0]))
    (tokens,) = [each for each in found if each.figure == "goodput_tokens"]
    assert tokens.low is not None
    assert tokens.high is not None
    assert 1.5 < tokens.low < 2.15 < tokens.high < 3.0


def test_two_results_of_one_kind_in_a_document_are_an_error() -> None:
    twice = msgspec.structs.replace(document("fifo", [0.1]), results=2 * document("fifo", [0.1]).results)
    with pytest.raises(SourceUnreadable, match=r"several results of one kind \(trace t0, policy fifo\)"):
        compare(twice, document("fifo", [0.1]))


@pytest.mark.parametrize("kept", sorted((ROOT / "benchmarks/results").glob("*.json")), ids=lambda path: path.stem)
def test_a_document_that_is_kept_is_as_good_as_itself(kept: Path) -> None:
    found = compare(read(kept), read(kept))
    assert {each.ratio for each in found} == {1.0}


def test_documents_of_different_things_are_an_error() -> None:
    other = Document("wire", "abc", document("x").machine, 7, 1.5e9, ({"workload": "wire", "records_per_s": 1.0},))
    with pytest.raises(SourceUnreadable, match="no results of the same kind"):
        compare(document("fifo", [0.1]), other)


def test_the_command_prints_ratios(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, other = tmp_path / "a.json", tmp_path / "b.json"
    write(document("fifo", [0.2], [0.4]), str(first))
    write(document("hybrid", [0.3], [0.4]), str(other))
    assert run_command(app, "sage-benchmark", ["compare", str(first), str(other)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["t0", "goodput_tokens", "0.2", "0.3", "1.5"] in lines


def test_a_page_holds_its_pictures_and_says_what_is_simulated(tmp_path: Path) -> None:
    pair = {"tenant": "a", "beside": "b", "p99_ratio": 1.5, "simulated": True}
    shown = document("fifo", [0.2, 0.4])
    text = page([("run", msgspec.structs.replace(shown, results=(*shown.results, pair)))])
    assert text.count("data:image/png;base64,") == 2
    assert "src='http" not in text
    assert "<h1>run</h1>" in text


def test_classes_have_bars_and_windows_have_lines() -> None:
    rows = tuple(
        {"policy": "hybrid", "window": window, "jain": 0.9, "attainment": {"batch": 0.5, "interactive": 1.0}}
        for window in (16, 4)
    )
    shown = msgspec.structs.replace(document("fifo"), results=rows)
    names = [name for name, png in pictures(shown) if png.startswith(PNG)]
    assert names == ["jain", "attainment", "jain-against-window"]
    alone = msgspec.structs.replace(shown, results=rows[:1])
    assert [name for name, _ in pictures(alone)] == ["jain", "attainment"]


def test_pictures_are_written_one_a_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, folder = tmp_path / "run.json", tmp_path / "plots"
    write(document("fifo", [0.2, 0.4]), str(file))
    asked = ["report", str(file), "--plots", str(folder), "--html", str(tmp_path / "run.html")]
    assert run_command(app, "sage-benchmark", asked) == 0
    assert (folder / "run-goodput_tokens.png").read_bytes().startswith(PNG)
    assert capsys.readouterr().out.splitlines() == [str(folder / "run-goodput_tokens.png"), str(tmp_path / "run.html")]
