"""The `sage-benchmark` command."""

import json
from pathlib import Path

import pytest

from benchmarks.cli import app
from benchmarks.document import Document, Hardware, write
from sage.cli import run_command


@pytest.fixture
def result_file(tmp_path: Path) -> Path:
    path = tmp_path / "result.json"
    machine = Hardware("a cpu", 2, 2**33, "Linux", "CPython 3.11.7", 0.0)
    write(Document("stream", "abc", machine, 7, 1.5e9, ({"workload": "W1", "n": 5},)), str(path))
    return path


def test_a_report_shows_the_figures_of_a_file(result_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(app, "sage-benchmark", ["report", str(result_file)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["W1", "5"]


def test_a_report_as_json_is_the_documents(result_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(app, "sage-benchmark", ["report", "--json", str(result_file)]) == 0
    assert json.loads(capsys.readouterr().out)[0]["results"] == [{"workload": "W1", "n": 5}]


def test_a_file_that_is_no_result_fails_with_status_1_and_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(app, "sage-benchmark", ["report", str(tmp_path / "gone.json")]) == 1
    assert "gone.json" in capsys.readouterr().err


def test_no_verb_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(app, "sage-benchmark", []) == 2
    assert "report" in "".join(capsys.readouterr())


def test_a_stream_is_timed_and_the_document_says_with_which_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "result.json"
    asked = [
        "stream",
        "--workload",
        "W1",
        "--records",
        "1000",
        "--batch",
        "100",
        "--rounds",
        "1",
        "--json",
        str(target),
    ]
    assert run_command(app, "sage-benchmark", asked) == 0
    document = json.loads(target.read_text())
    assert document["command"] == "sage-benchmark stream --workload W1 --records 1000 --batch 100 --rounds 1 --seed 7"
    assert [result["engine"] for result in document["results"]] == ["sage", "python"]
    assert document["results"][0]["batch_records"] == 100
    assert "W1" in capsys.readouterr().out


def test_a_document_on_standard_output_is_all_that_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["stream", "--workload", "W2", "--engine", "sage", "--records", "50", "--rounds", "1", "--json", "-"]
    assert run_command(app, "sage-benchmark", asked) == 0
    assert [result["engine"] for result in json.loads(capsys.readouterr().out)["results"]] == ["sage"]


def test_an_engine_is_refused_for_a_workload_that_has_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(app, "sage-benchmark", ["stream", "--workload", "embed", "--engine", "python"]) == 2
    assert "engine called directly" in capsys.readouterr().err


def test_windows_are_measured_on_the_engine_that_is_named(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    asked = ["--model-engine", "simulated:h100,model=sim", "--records", "3", "--rounds", "1", "--json", str(target)]
    assert run_command(app, "sage-benchmark", ["stream", "--workload", "windows", *asked]) == 0
    document = json.loads(target.read_text())
    assert "--model-engine simulated:h100,model=sim" in document["command"]
    assert {(each["engine"], each["model"], each["simulated"]) for each in document["results"]} == {
        ("fixed", "sim", True),
        ("adaptive", "sim", True),
    }


def test_an_engine_of_models_is_refused_for_what_asks_none(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["stream", "--workload", "W1", "--model-engine", "simulated:h100,model=sim"]
    assert run_command(app, "sage-benchmark", asked) == 2
    assert "--model-engine" in capsys.readouterr().err


def test_an_unknown_workload_is_a_usage_error_that_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(app, "sage-benchmark", ["stream", "--workload", "W9"]) == 2
    assert "'W1', 'W2', 'W3', 'W4', 'W5', 'embed', 'generate'" in capsys.readouterr().err


def test_what_was_measured_is_shown_though_its_file_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["policies", "--limit", "20", "--policy", "fifo", "--route", "auto", "--json", str(tmp_path / "no" / "x")]
    assert run_command(app, "sage-benchmark", asked) == 1
    shown = capsys.readouterr()
    assert "simulated h100" in shown.out
    assert "Name a file in a folder that exists" in shown.err


def test_a_policy_that_is_none_is_named_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(app, "sage-benchmark", ["policies", "--limit", "20", "--policy", "bst"]) == 2
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "The policies are: fifo, priority, edf, dlpm, hybrid" in said
    assert "Did you mean" not in said


@pytest.mark.parametrize("command", ["policies", "plane"])
@pytest.mark.parametrize(
    ("option", "good", "bad", "said"),
    [("--policy", "fifo", "hybrd", "hybrid"), ("--route", "auto", "sesion", "session")],
)
def test_a_name_that_is_none_is_refused_before_another_is_at_work(
    command: str, option: str, good: str, bad: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(app, "sage-benchmark", [command, option, good, option, bad]) == 2
    shown = capsys.readouterr().err
    assert option in shown
    assert f"Did you mean '{said}'" in " ".join(shown.replace("│", " ").split())
    assert "load 1.2" not in shown


def test_interference_that_cannot_be_had_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["policies", "--limit", "20", "--policy", "fifo", "--route", "auto", "--interference"]
    assert run_command(app, "sage-benchmark", asked) == 0
    assert "fewer than two tenants have 100 requests" in capsys.readouterr().err


@pytest.mark.parametrize("beside", [["--load", "2"], ["--interference"]], ids=["load", "interference"])
def test_what_a_search_for_the_highest_load_would_ignore_is_refused(
    beside: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["policies", "--limit", "20", "--policy", "fifo", "--route", "auto", "--find-load", "0.9"]
    assert run_command(app, "sage-benchmark", [*asked, *beside]) == 2
    assert "neither with --load nor with --interference" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--load", "--find-load"])
@pytest.mark.parametrize("number", ["inf", "nan", "1e308"])
def test_a_load_that_is_no_number_is_refused(option: str, number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(app, "sage-benchmark", ["policies", "--limit", "20", option, number]) == 2
    assert option in capsys.readouterr().err


def test_the_command_of_a_search_for_the_highest_load_can_be_run_again(tmp_path: Path) -> None:
    target = tmp_path / "load.json"
    asked = ["policies", "--limit", "20", "--policy", "fifo", "--route", "auto", "--find-load", "0.9"]
    assert run_command(app, "sage-benchmark", [*asked, "--json", str(target)]) == 0
    again = json.loads(target.read_text())["command"].split()[1:]
    assert run_command(app, "sage-benchmark", again) == 0


def test_a_report_as_json_has_no_pictures(result_file: Path, tmp_path: Path) -> None:
    asked = ["report", str(result_file), "--json", "--plots", str(tmp_path / "plots")]
    assert run_command(app, "sage-benchmark", asked) == 2
    assert not (tmp_path / "plots").exists()


@pytest.mark.parametrize(
    ("mix", "said"),
    [
        ("interactiv=0.2,batch=0.8", "'interactiv=0.2' names none of interactive, standard, batch, did you mean"),
        ("interactive=0.2,batch=0.7", "come to 0.9; they must come to 1"),
        ("interactive=0.5,interactive=0.5", "interactive is said twice"),
        ("interactive=nan,batch=0.5", "'interactive=nan' has no share above 0"),
        ("interactive=0,batch=1", "'interactive=0' has no share above 0"),
        ("batch", "'batch' has no share above 0"),
        ("", "'' names none of"),
    ],
)
def test_a_mix_that_is_none_says_how_it_would_be_right(mix: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(app, "sage-benchmark", ["policies", "--limit", "20", "--mix", mix]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert "interactive=0.2,standard=0.3,batch=0.5" in shown or "twice" in said


def test_two_mixes_at_once_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["policies", "--limit", "20", "--mixed-classes", "--mix", "interactive=0.5,batch=0.5"]
    assert run_command(app, "sage-benchmark", asked) == 2
    assert "it goes not with --mixed-classes" in capsys.readouterr().err


def test_what_classes_got_is_shown_and_a_mix_is_asked_for_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "mix.json"
    asked = ["policies", "--limit", "60", "--policy", "hybrid", "--route", "auto", "--load", "2"]
    mix = "interactive=0.25,batch=0.75"
    assert run_command(app, "sage-benchmark", [*asked, "--mix", mix, "--json", str(target)]) == 0
    document = json.loads(target.read_text())
    (result,) = document["results"]
    for name in ("attainment", "class_goodput_tokens", "class_ttft_p99_ms", "class_ttft_p99_of_due"):
        assert result[name].keys() == {"interactive", "batch"}
    assert result["batch_share"] > 0.0
    assert f"--mix {mix} " in document["command"]
