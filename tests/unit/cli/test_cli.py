"""The `sage` command: verbs, exit status, errors."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from sage.base.entry_points import EntryPoint, entry_points_in, find_entry_points
from sage.base.errors import EngineLost, RecordFailed
from sage.cli import find_verbs, main, new_app, run_command, summary_of

VERBS = """
[console_scripts]
x = y:z
[sage.commands]
good = verb_good:good
broken = verb_broken:verb
missing = verb_missing:verb
nothing = verb_good:nothing
"""


@pytest.fixture
def verbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One installed distribution whose verbs are good, broken, missing and without what they name."""
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text(VERBS)
    (tmp_path / "verb_good.py").write_text('"""Do good. And more."""\ndef good() -> None:\n    print("done")\n')
    (tmp_path / "verb_broken.py").write_text('"""Break."""\nimport no_such_module\n')
    monkeypatch.syspath_prepend(str(tmp_path))


def test_help_lists_every_verb_with_its_modules_first_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "models" in shown
    assert "Pull, list and remove model files." in shown


def test_no_verb_is_wrong_usage_and_shows_the_overview(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Commands:" in capsys.readouterr().out


def test_an_unknown_verb_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["modles"]) == 2
    assert "Did you mean models?" in capsys.readouterr().err


@pytest.mark.usefixtures("verbs")
def test_a_verb_of_another_distribution_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["good"]) == 0
    assert capsys.readouterr().out == "done\n"


@pytest.mark.usefixtures("verbs")
def test_a_broken_verb_breaks_no_other_and_not_the_overview(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "Do good." in shown
    assert "(not available: verb_missing cannot be read)" in shown
    assert main(["good"]) == 0


@pytest.mark.usefixtures("verbs")
@pytest.mark.parametrize(
    ("verb", "reason"), [("broken", "no_such_module"), ("missing", "verb_missing"), ("nothing", "nothing")]
)
def test_a_verb_that_cannot_be_loaded_says_why(verb: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb]) == 1
    shown = capsys.readouterr().err
    assert f"the command {verb} cannot be loaded" in shown
    assert reason in shown


def test_our_verbs_are_found_without_being_loaded() -> None:
    assert {"run", "models", "doctor", "config", "version"} <= set(find_verbs())
    assert "Pull" in summary_of(find_verbs()["models"])
    assert "cannot be read" in summary_of(EntryPoint("x", "no_such_module", "x"))


def test_an_error_is_shown_as_code_cause_and_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise EngineLost("engine chat-1 ended", "Ask again.")

    assert run_command(command, "sage x", []) == 1
    assert capsys.readouterr().err == "[SAGE-2203] engine chat-1 ended\n  Ask again.\n"


def test_a_failed_record_shows_the_users_frames_first(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        error = RecordFailed("record 7 failed in step map")
        error.user_traceback = 'File "mine.py", line 3, in f\nValueError: 7\n'
        raise error

    assert run_command(command, "sage x", []) == 1
    shown = capsys.readouterr().err
    assert shown.startswith('File "mine.py", line 3')
    assert "SAGE-1301" in shown


@pytest.mark.parametrize(("args", "status"), [([], 0), (["--status", "1"], 1), (["--status", "x"], 2), (["--nope"], 2)])
def test_the_exit_status_is_that_of_the_command(args: list[str], status: int) -> None:
    def command(status: int = 0) -> None:
        raise typer.Exit(status)

    assert run_command(command, "sage x", args) == status


def test_a_group_of_one_command_is_still_a_group(capsys: pytest.CaptureFixture[str]) -> None:
    app = new_app("A group.")
    app.command(name="only")(lambda: print("ran"))
    assert run_command(app, "sage x", ["only"]) == 0
    assert capsys.readouterr().out == "ran\n"
    assert run_command(app, "sage x", ["onyl"]) == 2
    assert "only" in capsys.readouterr().err


def test_entry_points_are_read_as_installers_write_them() -> None:
    text = "[g]\n a = m.n : f \nb=m:g.h [extra]\n\n[other]\nc = m:f\n"
    assert entry_points_in(text, "g") == [EntryPoint("a", "m.n", "f"), EntryPoint("b", "m", "g.h")]


@pytest.mark.usefixtures("verbs")
def test_the_first_distribution_on_the_path_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "first" / "first-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text("[sage.commands]\ngood = first:good\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "first"), *sys.path])
    assert find_entry_points("sage.commands")["good"].module == "first"


def test_the_package_runs_as_the_command() -> None:
    root = Path(__file__).parents[3]
    ran = subprocess.run(
        [sys.executable, "-m", "sage", "version", "--json"], cwd=root, capture_output=True, text=True, check=True
    )
    assert '"sage-engine"' in ran.stdout
