"""`sage run` as users run it: in a process of its own, to the end, to a failure, to Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster

COMMAND = [sys.executable, "-c", "import sys, sage.cli; sys.exit(sage.cli.main())", "run"]
DEADLINE_S = 60.0
FLOWS = """
import itertools
import sage

def fail_at_9999(number):
    if number == 9_999:
        raise ValueError(f"no room for {number}")
    return number

words = sage.Flow("words")
words.from_collection(["to be", "or not to be"]).flat_map(str.split).key_by(str).count(final=True).print()
failing = sage.Flow("failing")
failing.from_collection(range(20_000)).map(fail_at_9999).for_each(lambda number: None)
endless = sage.Flow("endless")
endless.from_collection(itertools.count()).for_each(lambda number: number or print("begun", flush=True))
"""


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    path = tmp_path / "flows.py"
    path.write_text(FLOWS)
    return path


def _run(*args: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*COMMAND, *args], capture_output=True, text=True, timeout=DEADLINE_S)


def test_a_flow_runs_to_its_end_and_says_how_it_went(flows: Path) -> None:
    done = _run(f"{flows}:words")
    assert (done.returncode, done.stderr) == (0, "")
    assert "('to', 2)" in done.stdout
    assert "words finished: 2 records in, 4 out, 0 dead letters" in done.stdout


def test_the_result_as_json_is_the_last_thing_printed(flows: Path) -> None:
    done = _run(f"{flows}:words", "--json")
    result = json.loads(done.stdout[done.stdout.index("{") :])
    assert (result["status"], result["records_in"], result["records_out"]) == ("finished", 2, 4)


def test_a_user_function_that_raises_on_the_10000th_record_is_shown_first(flows: Path) -> None:
    done = _run(f"{flows}:failing")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert f'File "{flows}", line 7, in fail_at_9999' in lines[1]
    assert "ValueError: no room for 9999" in done.stderr
    assert "[SAGE-1301]" in done.stderr
    assert str(Path(__file__).parents[2]) not in done.stderr


def test_a_missing_model_is_named_with_the_command_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "asks.py"
    path.write_text(
        'import sage\nflow = sage.Flow("asks")\n'
        'flow.from_collection(["hello"]).generate(model="smollm2", prompt="{}").print()\n'
    )
    monkeypatch.setenv("SAGE_MODELS_CACHE_DIR", str(tmp_path / "empty"))
    done = _run(str(path))
    assert done.returncode == 1
    assert "sage models pull smollm2" in done.stderr


def test_an_unknown_address_names_those_that_are_known(flows: Path) -> None:
    done = _run(f"{flows}:words", "--address", "locl")
    assert done.returncode == 1
    assert "local" in done.stderr
    assert "[SAGE-1102]" in done.stderr


def test_a_time_out_cancels_and_says_so(flows: Path) -> None:
    done = _run(f"{flows}:endless", "--timeout-s", "0.2")
    assert done.returncode == 1
    assert "[SAGE-2103]" in done.stderr


def test_ctrl_c_ends_an_endless_flow_with_130_and_no_traceback(flows: Path) -> None:
    running = subprocess.Popen(
        [*COMMAND, f"{flows}:endless"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with running:
        assert running.stdout is not None
        assert running.stdout.readline() == "begun\n"
        os.killpg(running.pid, signal.SIGINT)
        _, shown = running.communicate(timeout=DEADLINE_S)
    assert running.returncode == 130
    assert shown == "cancelled\n"
