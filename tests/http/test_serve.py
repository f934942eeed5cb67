"""`sage-gateway serve` with simulated engines in processes of their own: from the command line to the last token."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from openai import APIError, BadRequestError, NotFoundError
from openai.types.chat import ChatCompletionMessageParam

from sage.base.metrics import PICKED
from tests.http.clients import WAIT_S, openai_client, post, raw_connection, raw_post, read_until
from tests.http.command import Command, run_serve, serve

pytestmark = pytest.mark.cluster

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi there"}]
ENGINE = ("--engine", "simulated:cpu2,model=sim")


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    with serve(*ENGINE, directory=tmp_path_factory.mktemp("serve")) as running:
        yield running


def test_it_says_where_it_serves_and_that_the_engine_is_simulated(command: Command) -> None:
    assert command.line == f"Serving sim (simulated) at {command.url}"
    assert httpx.get(f"{command.url}/readyz").json() == {"status": "ready", "models": ["sim"]}
    assert httpx.get(f"{command.url}/v1/models/sim").json()["simulated"] is True
    assert "simulated" in httpx.get(command.url).text


def test_a_chat_goes_through_the_plane_to_an_engine_and_back(command: Command) -> None:
    with openai_client(command.url) as client:
        answer = client.chat.completions.create(model="sim", messages=HI, max_tokens=4)
        streamed = list(client.chat.completions.create(model="sim", messages=HI, max_tokens=4, stream=True))
        embedded = client.embeddings.create(model="sim", input=["a", "b", "a"])
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 4
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == answer.choices[0].message.content
    assert embedded.data[0].embedding == embedded.data[2].embedding != embedded.data[1].embedding


def test_an_answer_says_which_policy_and_route_served_it_and_metrics_count_them(command: Command) -> None:
    url, body = f"{command.url}/v1/chat/completions", {"model": "sim", "messages": HI, "max_tokens": 2}
    whole = httpx.post(url, json=body)
    streamed = httpx.post(url, json={**body, "stream": True})
    texts = {"model": "sim", "input": [f"text {number}" for number in range(65)]}
    embedded = httpx.post(f"{command.url}/v1/embeddings", json=texts)
    for answer in (whole, streamed, embedded):
        said = [answer.headers[f"x-sage-{what}"] for what in ("policy", "route", "engine")]
        assert said == ["hybrid", "auto", "sim"]
    cached = httpx.post(f"{command.url}/v1/embeddings", json=texts)
    assert (cached.headers["x-sage-engine"], "x-sage-policy" in cached.headers) == ("cache", False)
    refused = httpx.post(url, json={**body, "model": "nobody"})
    assert "x-sage-policy" not in refused.headers
    [line] = [line for line in httpx.get(f"{command.url}/metrics").text.splitlines() if line.startswith(PICKED.name)]
    labels, _, value = line.rpartition(" ")
    assert labels == PICKED.name + '{policy="hybrid",route="auto"}'
    assert float(value) >= 4.0


def test_stop_and_seed_are_honoured(command: Command) -> None:
    with openai_client(command.url) as client:
        whole = client.chat.completions.create(model="sim", messages=HI, max_tokens=6, seed=1)
        again = client.chat.completions.create(model="sim", messages=HI, max_tokens=6, seed=1)
        text = whole.choices[0].message.content or ""
        mark = text.split()[2]
        stopped = client.chat.completions.create(model="sim", messages=HI, max_tokens=6, seed=1, stop=mark)
    assert again.choices[0].message.content == text
    assert stopped.choices[0].finish_reason == "stop"
    assert mark not in (stopped.choices[0].message.content or "")
    assert text.startswith((stopped.choices[0].message.content or "").rstrip())


def test_an_unknown_model_and_a_prompt_of_a_megabyte_are_the_callers_fault(command: Command) -> None:
    with openai_client(command.url) as client:
        with pytest.raises(NotFoundError) as unknown:
            client.chat.completions.create(model="gpt", messages=HI)
        with pytest.raises(BadRequestError) as overflow:
            client.chat.completions.create(model="sim", messages=[{"role": "user", "content": "word " * 200_000}])
    assert unknown.value.code == "model_not_found"
    assert overflow.value.code == "context_length_exceeded"


def test_metrics_show_what_the_plane_counted(command: Command) -> None:
    post(command.url, "/v1/chat/completions", {"model": "sim", "messages": HI, "max_tokens": 2})
    text = httpx.get(f"{command.url}/metrics").text
    assert 'sage_requests_total{kind="chat",model="sim",outcome="finished",service_class="interactive"}' in text
    assert 'sage_tokens_total{direction="completion",model="sim"}' in text
    assert 'sage_engine_up{engine="sim"} 1.0' in text
    assert 'sage_engine_cache_exact{engine="sim"} 0.0' in text
    assert 'sage_queue_waiting{model="sim"} 0.0' in text


def test_a_client_that_leaves_frees_its_place_at_the_engine(command: Command) -> None:
    body = json.dumps({"model": "sim", "messages": HI, "max_tokens": 2000, "stream": True}).encode()
    with raw_connection(command.url) as connection:
        connection.sendall(raw_post("/v1/chat/completions", body))
        read_until(connection, b'"content":"')
        assert running(command) == 1
    with openai_client(command.url) as client:
        client.chat.completions.create(model="sim", messages=HI, max_tokens=1)  # the engine's next turn but one
    assert running(command) == 0


def running(command: Command) -> float:
    """Return how many requests the engine works on, by the gateway's metrics."""
    text = httpx.get(f"{command.url}/metrics").text
    [line] = [line for line in text.splitlines() if line.startswith("sage_engine_running{")]
    return float(line.split()[-1])


def host_of(command: Command) -> psutil.Process:
    [host] = [
        process for process in psutil.Process(command.process.pid).children() if "host" in " ".join(process.cmdline())
    ]
    return host


def test_an_engine_that_is_killed_ends_its_streams_with_a_typed_event_and_is_started_again(tmp_path: Path) -> None:
    with serve(*ENGINE, directory=tmp_path) as command, openai_client(command.url) as client:
        stream = client.completions.create(model="sim", prompt="hi", max_tokens=2000, stream=True)
        assert next(stream).choices[0].text
        before = host_of(command)
        before.kill()
        with pytest.raises(APIError) as lost:
            for _ in stream:
                pass
        waited = post(command.url, "/v1/chat/completions", {"model": "sim", "messages": HI, "max_tokens": 2})
        ready = httpx.get(f"{command.url}/readyz")
        after = host_of(command)
        command.started.append(after)
        assert command.stop() == 0
    assert lost.value.code == "engine_lost"
    assert waited.status_code == 200
    assert ready.json() == {"status": "ready", "models": ["sim"]}
    assert after.pid != before.pid


def test_an_engine_that_hangs_is_noticed_ended_and_started_again(tmp_path: Path) -> None:
    engine = f"{ENGINE[1]},max_iteration_s=2"
    with serve("--engine", engine, directory=tmp_path) as command, openai_client(command.url) as client:
        stream = client.completions.create(model="sim", prompt="hi", max_tokens=2000, stream=True)
        assert next(stream).choices[0].text
        before = host_of(command)
        before.suspend()
        with pytest.raises(APIError) as lost:
            for _ in stream:
                pass
        waited = post(command.url, "/v1/chat/completions", {"model": "sim", "messages": HI, "max_tokens": 2})
        command.started.append(host_of(command))
        assert command.stop() == 0
    assert lost.value.code == "engine_lost"
    assert waited.status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_what_is_open_and_leaves_nothing_running(number: signal.Signals, tmp_path: Path) -> None:
    body = {"model": "sim", "messages": HI, "max_tokens": 40, "stream": True}
    with (
        serve(*ENGINE, directory=tmp_path) as command,
        httpx.stream("POST", f"{command.url}/v1/chat/completions", json=body, timeout=WAIT_S) as answer,
    ):
        pieces = answer.iter_text()
        assert '"content":' in next(pieces)
        command.process.send_signal(number)
        assert "".join(pieces).endswith("data: [DONE]\n\n")
        assert command.wait() == 0
    assert command.errors == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--engine", "simulated:nothing"], "nothing"),
        (["--engine", "nonsense"], "KIND:TARGET"),
        (["--engine", "simulated:cpu2,model=a", "--engine", "simulated:cpu2,model=a"], "two engines are named 'a'"),
        (["--host", "0.0.0.0", *ENGINE], "other machines"),
        (["--config", "missing.toml"], "missing.toml"),
    ],
)
def test_what_cannot_be_served_is_said_and_exits_1(arguments: list[str], said: str, tmp_path: Path) -> None:
    ended = run_serve(arguments, tmp_path)
    assert ended.returncode == 1
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken_is_said_before_any_engine_starts(command: Command, tmp_path: Path) -> None:
    port = str(httpx.URL(command.url).port)
    ended = run_serve(["--port", port, *ENGINE], tmp_path)
    assert ended.returncode == 1
    assert f"port {port} of 127.0.0.1 is taken" in ended.stderr
