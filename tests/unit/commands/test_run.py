"""`sage run`: which flow of a file is meant, and what would run; running itself is in tests/cluster."""

import json
from pathlib import Path

import pytest

from cluster.commands.checkpoint_options import ResumeChoice, StateChoice, checkpoint_of
from sage.cli import main

TWO = """
import sage
flow = sage.Flow("word-count")
flow.from_collection(["to be"]).flat_map(str.split).key_by(str).count(final=True).collect()
same = flow
other = sage.Flow("other")
other.from_collection([1]).with_parallelism(1).map(abs).print()
if __name__ == "__main__":
    raise SystemExit("run as a script")
"""


@pytest.fixture
def two(tmp_path: Path) -> Path:
    path = tmp_path / "two flows.py"
    path.write_text(TWO)
    return path


def test_several_flows_are_listed_as_the_cluster_that_is_meant_takes_them(
    two: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cluster", "submit", str(two), "--name", "big one"]) == 2
    assert f"sage-cluster submit --name 'big one' '{two}:flow'" in capsys.readouterr().out


def test_a_flow_is_explained_before_it_is_submitted_and_no_cluster_is_asked(
    two: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ["cluster", "submit", f"{two}:flow", "--explain", "--name", "there-is-none"]
    assert main(told) == 0
    out = capsys.readouterr().out
    assert "flat_map > key_by > count" in out
    assert "sage-cluster job ID --explain" in out
    assert main([*told, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["chains"]


def test_several_flows_and_none_named_are_listed_with_exit_2(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(two)]) == 2
    shown = capsys.readouterr().out
    assert f"sage run '{two}:flow'" in shown
    assert f"sage run '{two}:other'" in shown
    assert ":same" not in shown


def test_a_flow_that_is_not_there_lists_those_that_are(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", f"{two}:flwo"]) == 2
    shown = capsys.readouterr().out
    assert "no flow 'flwo'" in shown
    assert ":flow" in shown


@pytest.mark.parametrize("wanted", ["flow", "word-count"])
def test_a_plan_is_explained_by_variable_or_by_name(two: Path, wanted: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", f"{two}:{wanted}", "--explain"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("flow word-count")
    assert "flat_map > key_by > count" in shown
    assert f"{two}:4" in shown


def test_an_explained_plan_says_where_each_task_would_run_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "placed.py"
    path.write_text(
        "import sage\nflow = sage.Flow('placed')\n"
        "flow.from_collection([1]).map(abs).with_resources(cpus=0.5).collect()\n"
        "big = sage.Flow('big')\nbig.from_collection([1]).map(abs).with_resources(labels={'zone': 'mars'}).collect()\n"
    )
    assert main(["run", f"{path}:flow", "--explain"]) == 0
    assert "takes 0.5 CPUs; the only node there is" in capsys.readouterr().out
    assert main(["run", f"{path}:big", "--explain", "--json"]) == 0
    placement = json.loads(capsys.readouterr().out)["placement"]
    assert placement == [f"no room: map -> collect ({path}:5) asks for the label zone=mars: local has no label zone"]
    assert main(["run", f"{path}:big", "--explain", "--json", "--address", "tcp://head:1"]) == 0
    assert json.loads(capsys.readouterr().out)["placement"] == []


def test_a_step_that_is_gone_may_be_named_on_the_command_line(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    choices = ResumeChoice.AUTO, StateChoice.MEMORY
    kept = checkpoint_of("kept", 1.0, None, *choices, ["count", "sum"])
    assert kept is not None
    assert kept.drop == ("count", "sum")
    assert main(["run", str(two), "--drop", "count"]) == 2
    assert "it goes with --checkpoint" in capsys.readouterr().err
    assert main(["run", f"{two}:flow", "--checkpoint", "x", "--drop", ""]) == 1
    assert "drop are names, each once" in capsys.readouterr().err


def test_a_plan_as_json_names_steps_and_lines(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", f"{two}:other", "--explain", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["flow"] == "other"
    assert [step for chain in plan["chains"] for step in chain["steps"]] == ["from_collection", "map", "print"]
    assert {line for chain in plan["chains"] for line in chain["lines"]} == {f"{two}:7"}


@pytest.mark.parametrize("text", [None, "x = 1\n"])
def test_no_file_and_no_flow_are_wrong_usage(
    tmp_path: Path, text: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "flows.py"
    if text is not None:
        path.write_text(text)
    assert main(["run", str(path)]) == 2
    assert str(path) in capsys.readouterr().err


@pytest.mark.parametrize("text", ["import sage\n1 / 0\n", "def f(:\n"])
def test_a_file_that_cannot_be_imported_shows_the_users_line_and_none_of_ours(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "flows.py"
    path.write_text(text)
    assert main(["run", str(path)]) == 1
    shown = capsys.readouterr().err
    assert f'File "{path}", line' in shown
    assert "flow_file.py" not in shown
    assert "SAGE-1101" in shown


def test_a_flow_without_an_end_is_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "flows.py"
    path.write_text('import sage\nflow = sage.Flow("open")\nflow.from_collection([1])\n')
    assert main(["run", str(path)]) == 1
    assert f"{path}:3" in capsys.readouterr().err


def test_modules_beside_the_file_can_be_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "words_beside.py").write_text("def cut(text: str) -> list[str]:\n    return text.split()\n")
    path = tmp_path / "flows.py"
    path.write_text(
        "import sage\nfrom words_beside import cut\n"
        'flow = sage.Flow("beside")\nflow.from_collection(["a b"]).flat_map(cut).print()\n'
    )
    assert main(["run", str(path), "--explain"]) == 0
    assert "flow beside" in capsys.readouterr().out


def test_a_flow_that_takes_too_long_says_by_which_option_it_has_more_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "endless.py"
    path.write_text("import sage\nflow = sage.Flow('endless')\nflow.ticks(0.01).map(str).for_each(len)\n")
    assert main(["run", str(path), "--timeout-s", "0.2"]) != 0
    said = capsys.readouterr().err
    assert "did not end within 0.2 s and was cancelled" in said
    assert "--timeout-s" in said
    assert "timeout_s=" not in said
