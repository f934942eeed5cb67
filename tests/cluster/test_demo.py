"""`sage demo` as users run it, in a process of its own; on simulated engines, and once on the real ones."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from gateway.demo.questions import built_in_questions
from tests.cluster.waiting import eventually

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "import sys, sage.cli; sys.exit(sage.cli.main())", "demo"]
DEADLINE_S = 100.0
REAL_DEADLINE_S = 280.0  # 20 s on two quiet cores, a minute and more where others work too
STOP_S = 15.0
SIMULATED = """
[[engine]]
name = "chat"
kind = "simulated"
model = "smollm2"
target = "h100"
roles = ["chat"]

[[engine]]
name = "embedding"
kind = "simulated"
model = "minilm"
target = "h100"
roles = ["embedding"]
"""


@pytest.fixture
def simulated(tmp_path: Path) -> Path:
    """A folder whose sage.toml names simulated engines under the names of the embedded models."""
    (tmp_path / "sage.toml").write_text(SIMULATED)
    return tmp_path


def run(
    *args: str, directory: Path, stdin: str = "", timeout_s: float = DEADLINE_S
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *args],
        cwd=directory,
        env=environ(),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@contextmanager
def started(*args: str, directory: Path) -> Iterator["subprocess.Popen[str]"]:
    """Start the demo; at the end of the block it is gone, and so is all that it had started."""
    process = subprocess.Popen(
        [*COMMAND, *args],
        cwd=directory,
        env=environ(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def environ() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SAGE_") or name == "SAGE_DATA"}
    return {**kept, "PYTHONPATH": str(ROOT)}


def interrupted(process: "subprocess.Popen[str]") -> str:
    """Send Ctrl-C to all of it, as a terminal does, and return what it still wrote to standard error."""
    below = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    _, shown = process.communicate(timeout=STOP_S)
    _, left = psutil.wait_procs(below, timeout=STOP_S)
    assert left == []
    return shown


@pytest.mark.cluster
def test_questions_are_answered_in_order_with_passages_first_and_sources_last(simulated: Path) -> None:
    done = run("-q", "What is a closure?", "-q", "What is a slice?", directory=simulated)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.index("1. What is a closure?"), done.stdout.index("2. What is a slice?")
    answer, sources = done.stdout.index("\n   answer  "), done.stdout.index("\n   sources ")
    assert first < answer < sources < second < done.stdout.index("what ran")
    assert "minilm (simulated)" in done.stdout
    assert "indexing the Python reference" in done.stderr


@pytest.mark.cluster
def test_piped_questions_are_answered_and_json_is_all_that_standard_output_holds(simulated: Path) -> None:
    done = run("--json", directory=simulated, stdin="What is a slice?\n")
    report = json.loads(done.stdout)
    assert [answer["question"] for answer in report["answers"]] == ["What is a slice?"]
    assert len(report["answers"][0]["passages"]) == 3
    assert report["metrics"]["status"] == "finished"
    assert all(engine["simulated"] for engine in report["engines"])


@pytest.mark.cluster
def test_a_model_that_nobody_has_is_refused_before_anything_runs(simulated: Path) -> None:
    done = run("--model", "smolm2", directory=simulated)
    assert done.returncode == 1
    assert "[SAGE-1201]" in done.stderr
    assert "Did you mean smollm2?" in done.stderr
    assert "indexing" not in done.stderr


@pytest.mark.cluster
def test_missing_models_are_named_with_the_command_that_brings_them(tmp_path: Path) -> None:
    (tmp_path / "sage.toml").write_text(f'[models]\ncache_dir = "{tmp_path / "empty"}"\n')
    done = run(directory=tmp_path)
    assert done.returncode == 1
    assert "sage models pull smollm2 minilm" in done.stderr


@pytest.mark.cluster
def test_an_empty_question_is_refused(simulated: Path) -> None:
    done = run("-q", " ", directory=simulated)
    assert done.returncode == 1
    assert "a question is empty" in done.stderr


@pytest.mark.cluster
def test_ctrl_c_ends_it_with_130_and_leaves_nothing_running(simulated: Path) -> None:
    with started(directory=simulated) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("indexing")
        shown = interrupted(process)
    assert process.returncode == 130
    assert shown.endswith("cancelled\n")
    assert "Traceback" not in shown


@pytest.mark.cluster
def test_serve_leaves_the_gateway_up_on_the_same_engines(simulated: Path) -> None:
    (simulated / "sage.toml").write_text(f"{SIMULATED}\n[gateway]\nport = 0\n")
    with started("--serve", "-q", "What is a slice?", directory=simulated) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith("Serving "))
        hosts = psutil.Process(process.pid).children(recursive=True)
        url = line.strip().rpartition(" at ")[2]
        models = httpx.get(f"{url}/v1/models").json()["data"]
        body = {"model": "smollm2", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
        answer: Any = httpx.post(f"{url}/v1/chat/completions", json=body).json()
        found: Any = httpx.post(f"{url}/v1/chat/completions", json={**body, "model": "python-docs"}).json()
        metrics = httpx.get(f"{url}/metrics").text
        assert {model["id"]: model["owned_by"] for model in models} == {
            "python-docs": "flow",
            "smollm2": "sage",
            "minilm": "sage",
        }
        assert answer["usage"]["completion_tokens"] == 4
        assert found["usage"]["completion_tokens"] == 4
        assert found["usage"]["prompt_tokens"] > 100
        assert "python-docs" in httpx.get(url).text
        assert len(hosts) == 3
        for model in ("python-docs", "smollm2", "minilm"):
            assert f'sage_requests_total{{kind="{"embed" if model == "minilm" else "chat"}",model="{model}"' in metrics
        interrupted(process)
    assert process.returncode == 0


@pytest.mark.engines
@pytest.mark.timeout(REAL_DEADLINE_S + 20.0)
def test_the_right_topic_is_among_the_first_three_passages_of_8_of_10_questions(tmp_path: Path) -> None:
    done = run("--json", directory=tmp_path, timeout_s=REAL_DEADLINE_S)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    answers = report["answers"]
    assert [answer["question"] for answer in answers] == [question.text for question in built_in_questions()]
    assert sum(answer["is_right"] for answer in answers) >= 8
    assert all(len(answer["passages"]) == 3 for answer in answers)
    assert sum(engine["completion_tokens"] for engine in report["engines"]) > 0
    assert not any(engine["simulated"] for engine in report["engines"])


@pytest.mark.engines
@pytest.mark.timeout(REAL_DEADLINE_S + 20.0)
def test_the_reference_is_asked_as_a_model_by_openais_client_and_left_in_the_middle(tmp_path: Path) -> None:
    (tmp_path / "sage.toml").write_text("[gateway]\nport = 0\n")
    asked: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What does the with statement do?"}]
    with started("--serve", "-q", "What is a slice?", directory=tmp_path) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith("Serving "))
        url = line.strip().rpartition(" at ")[2]
        with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=REAL_DEADLINE_S) as client:
            answer = client.chat.completions.create(model="python-docs", messages=asked)
            chunks = list(client.chat.completions.create(model="python-docs", messages=asked, stream=True))
            with client.chat.completions.create(model="python-docs", messages=asked, stream=True) as stream:
                assert next(iter(stream)).choices[0].delta.role == "assistant"
        text = answer.choices[0].message.content or ""
        assert "with" in text
        pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
        assert "".join(pieces) == text  # greedy, from the same passages
        assert len([piece for piece in pieces if piece]) > 5
        assert answer.usage is not None
        assert answer.usage.prompt_tokens > 100
        idle = re.compile(r"^sage_engine_running\{[^}]*smollm2[^}]*\} 0\.0$", re.MULTILINE)
        eventually(lambda: idle.search(httpx.get(f"{url}/metrics").text) is not None, STOP_S)
        interrupted(process)
    assert process.returncode == 0
