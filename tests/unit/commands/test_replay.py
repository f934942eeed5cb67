"""`sage replay`: the step of a dead letter once more, with the code as it is now."""

import io
import json
import sys
import sysconfig
from pathlib import Path

import pytest

from cluster.commands.replay import is_of_python, replay
from cluster.jobs.flow_file import flows_in
from sage.cli import new_app, run_command
from sage.flow.connectors.http_source import HttpSource
from tests.unit.web.posting import reading

FLOW = """
import sage

def parse(text):
    {body}

async def fetch(text):
    raise OSError("gone: " + text)

flow = sage.Flow("numbers")
texts = flow.from_collection(["1", "two"])
texts.map(parse).named("parse").on_error("dead_letter").collect()
texts.filter(lambda text: text == "1").map_async(fetch).named("fetch").on_error("dead_letter").collect()
texts.key_by(lambda text: 0).reduce(lambda a, b: a / b).named("pairs").on_error("dead_letter").collect()
"""

APP = new_app("replay")
APP.command()(replay)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of a flow that has set three records aside."""
    monkeypatch.setenv("SAGE_JOBS_LETTERS_DIR", str(tmp_path / "letters"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = tmp_path / "numbers.py"
    file.write_text(FLOW.format(body="return int(text)"))
    assert flows_in(file)["flow"].run(timeout_s=20).dead_letters == 3
    return file


def shown(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    assert run_command(APP, "sage", ["replay", *words]) == status
    captured = capsys.readouterr()
    return captured.out + captured.err


def letter_of(step: str, capsys: pytest.CaptureFixture[str]) -> str:
    ids: list[str] = json.loads(shown(capsys, "--json"))["dead_letters"]
    assert len(ids) == 3
    return next(each for each in ids if step in shown(capsys, each, "--no-pdb", status=1))


def test_a_step_that_still_fails_shows_the_users_frames(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(capsys, letter_of("parse", capsys), "--no-pdb", status=1)
    assert "parse on 'two'" in said
    assert "record 2 that 'parse' took on" in said
    assert f'File "{written}", line 5, in parse' in said
    assert "ValueError: invalid literal for int()" in said
    assert "operators/" not in said


def test_a_step_that_was_mended_gives_its_result(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    letter_id = letter_of("parse", capsys)
    written.write_text(FLOW.format(body='return {"two": 2}[text]'))
    assert run_command(APP, "sage", ["replay", letter_id, str(written), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"dead_letter": letter_id, "result": "2"}


def test_the_debugger_stops_in_the_users_function(
    written: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    letter_id = letter_of("parse", capsys)
    monkeypatch.setattr(sys, "stdin", io.StringIO("p text + '!'\nc\nq\n"))
    said = shown(capsys, letter_id, status=1)
    assert "-> return int(text)" in said
    assert "'two!'" in said


def test_the_debugger_stops_in_the_users_coroutine(
    written: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    letter_id = letter_of("fetch", capsys)
    monkeypatch.setattr(sys, "stdin", io.StringIO("p f'got {text}'\nc\nq\n"))
    said = shown(capsys, letter_id, status=1)
    first = said.index("> /")
    assert said[first:].startswith(f"> {written}(")
    assert "'got 1'" in said


def test_the_debugger_shows_what_comes_of_a_step_that_was_mended(
    written: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    letter_id = letter_of("parse", capsys)
    written.write_text(FLOW.format(body='return {"two": 2}[text]'))
    monkeypatch.setattr(sys, "stdin", io.StringIO("c\n"))
    assert run_command(APP, "sage", ["replay", letter_id, str(written)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("2")


def test_coroutines_run_too_and_what_needs_several_records_is_refused(
    written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "OSError: gone: 1" in shown(capsys, letter_of("fetch", capsys), "--no-pdb", status=1)
    said = shown(capsys, letter_of("pairs", capsys), "--no-pdb", status=1)
    assert "step 'pairs' is a reduce: what it does depends on more than one record" in said


ENDS = """
import sage

flow = sage.Flow("ends")
scores = flow.from_collection([1.0, float("nan")])
named = scores.map(lambda score: {{"score": score}})
named.write_jsonl("{folder}/scores.jsonl").named("lines").on_error("dead_letter")
scores.for_each(lambda score: round(score)).named("rounded").on_error("dead_letter")
scores.to_http("{url}", retries=0).named("hook").on_error("dead_letter")
"""


def test_what_ends_a_stream_is_replayed_and_a_line_is_made_but_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGE_JOBS_LETTERS_DIR", str(tmp_path / "letters"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = tmp_path / "ends.py"
    with reading(HttpSource("scores")) as at:
        written = {"folder": tmp_path, "url": at.url.replace("/scores", "/none")}
        file.write_text(ENDS.format(**written))
        assert flows_in(file)["flow"].run(timeout_s=20).dead_letters == 4
        lines = (tmp_path / "scores.jsonl").read_text()
        ids: list[str] = json.loads(shown(capsys, "--json"))["dead_letters"]
        said = {each: shown(capsys, each, "--no-pdb", status=1) for each in ids}
        by_step = {step: [each for each in ids if said[each].startswith(step)] for step in ("lines", "rounded", "hook")}
        assert {step: len(found) for step, found in by_step.items()} == {"lines": 1, "rounded": 1, "hook": 2}
        assert "has no JSON form: nan at $.score" in said[by_step["lines"][0]]
        assert "cannot convert float NaN to integer" in said[by_step["rounded"][0]]
        (one,) = [each for each in by_step["hook"] if "hook on 1.0" in said[each]]
        assert "answered 404" in said[one]
        assert not any("Traceback" in said[each] for each in (*by_step["lines"], *by_step["hook"]))
        written["url"] = at.url
        file.write_text(ENDS.format(**written))
        shown(capsys, one, "--no-pdb")
        assert at.next(1) == [1.0]
    assert (tmp_path / "scores.jsonl").read_text() == lines == '{"score":1.0}\n'


def test_what_is_not_there_is_told(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "SAGE-1310" in shown(capsys, "job/none/1", status=1)
    letter_id = letter_of("parse", capsys)
    written.unlink()
    assert f"{written}, which is no file" in shown(capsys, letter_id, status=1)


def test_the_debugger_passes_by_python_itself_and_no_package_that_is_installed_beside_it() -> None:
    library = sysconfig.get_paths()["stdlib"]
    assert is_of_python(f"{library}/asyncio/runners.py")
    assert is_of_python("<frozen importlib._bootstrap>")
    assert not is_of_python(f"{library}/site-packages/users/steps.py")
    assert not is_of_python(__file__)
