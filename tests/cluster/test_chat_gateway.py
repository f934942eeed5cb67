"""`sage-cluster submit` of a flow that is asked as a model, and `sage-gateway serve --cluster` before it."""

import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from openai import APIError, APIStatusError, InternalServerError, NotFoundError, OpenAI
from openai.types.chat import ChatCompletionMessageParam

from tests.cluster.cluster_command import DEADLINE_S, ClusterCommand, user_at_home
from tests.cluster.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

FLOWS = Path(__file__).with_name("chat_flows.py")
_SERVE = "import sys; from gateway.cli import main; sys.exit(main())"


def says(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


@dataclass(frozen=True, slots=True)
class Up:
    """A cluster with a gateway before it, and the flow submitted there."""

    user: ClusterCommand
    gateway: "subprocess.Popen[str]"
    url: str

    def client(self) -> OpenAI:
        return OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=DEADLINE_S)

    def wait_for(self, model: str) -> None:
        """Wait until a flow takes requests as this model."""
        eventually(lambda: httpx.get(f"{self.url}/v1/models/{model}").json().get("ready") is True, DEADLINE_S)

    def num_running(self) -> int:
        [engine] = self.user.json("top")["engines"]
        running: int = engine["num_running"]
        return running


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    with user_at_home() as user:
        user("start", "--nodes", "1", "--engine", "simulated:cpu2,model=sim")
        user("submit", f"{FLOWS}:chats")
        gateway = user.popen("-c", _SERVE, "serve", "--port", "0", "--cluster", "default")
        watchdog = threading.Timer(DEADLINE_S, gateway.kill)
        watchdog.start()
        assert gateway.stdout is not None
        line = gateway.stdout.readline().strip()
        watchdog.cancel()
        assert line.startswith("Serving cluster default"), line
        url = line.rpartition(" at ")[2]
        up = Up(user, gateway, url)
        up.wait_for("talk")
        yield up
        gateway.send_signal(signal.SIGTERM)
        gateway.communicate(timeout=DEADLINE_S)
        assert gateway.returncode == 0
        user("stop")
        user.wait_gone()


def test_flows_are_listed_beside_the_models_of_engines(up: Up) -> None:
    with up.client() as client:
        listed = {model.id: model.owned_by for model in client.models.list()}
        shown = client.models.retrieve("talk").model_dump()
    assert listed == {**dict.fromkeys(("shout", "talk", "long", "picky", "broken"), "flow"), "sim": "sage"}
    assert (shown["flow"], shown["job"][:4], shown["simulated"]) == ("chats", "job-", True)
    assert "talk" in httpx.get(f"{up.url}/readyz").json()["models"]
    page = httpx.get(up.url).text
    assert "Flows, asked as models" in page
    assert '"model": "shout"' in page.replace("&quot;", '"')


def test_a_flow_is_asked_by_openais_client_whole_and_streamed(up: Up) -> None:
    with up.client() as client:
        whole = client.chat.completions.create(model="shout", messages=says("hi there"))
        answer = client.chat.completions.create(model="talk", messages=says("hi"), max_tokens=5)
        stream = client.chat.completions.create(
            model="talk", messages=says("hi"), max_tokens=5, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
    assert whole.choices[0].message.content == "HI THERE"
    assert whole.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.choices[0].finish_reason, answer.usage.completion_tokens) == ("length", 5)
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == answer.choices[0].message.content
    assert len([text for text in texts if text]) == 5
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 5


def test_a_model_of_the_clusters_engines_is_asked_at_the_same_door(up: Up) -> None:
    with up.client() as client:
        answer = client.chat.completions.create(model="sim", messages=says("hi"), max_tokens=3)
        vectors = client.embeddings.create(model="sim", input=["a", "b"])
    assert answer.choices[0].finish_reason == "length"
    assert len(vectors.data) == 2


def test_a_caller_that_leaves_in_the_middle_frees_the_engine(up: Up) -> None:
    with up.client() as client:
        with client.chat.completions.create(model="long", messages=says("on"), stream=True) as stream:
            assert next(iter(stream)).choices[0].delta.role == "assistant"
            assert up.num_running() == 1
        eventually(lambda: up.num_running() == 0, DEADLINE_S)


def test_deadlines_and_ids_of_the_call_hold_for_the_flow(up: Up) -> None:
    with up.client() as client, pytest.raises(APIError) as caught:
        list(
            client.chat.completions.create(
                model="long",
                messages=says("on"),
                stream=True,
                extra_headers={"x-sage-deadline-ms": "700", "x-request-id": "mine"},
            )
        )
    assert caught.value.code == "deadline_exceeded"
    eventually(lambda: up.num_running() == 0, DEADLINE_S)


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [("picky", 422, "not_answered"), ("broken", 500, "flow_failed"), ("nobody", 404, "model_not_found")],
)
def test_what_fails_has_a_status_and_a_code_and_names_nothing_of_the_inside(
    up: Up, model: str, status: int, code: str
) -> None:
    with up.client() as client, pytest.raises(APIStatusError) as caught:
        client.chat.completions.create(model=model, messages=says("hi"), extra_headers={"x-request-id": "mine"})
    assert (caught.value.status_code, caught.value.code, caught.value.response.headers["x-request-id"]) == (
        status,
        code,
        "mine",
    )
    assert "ZeroDivisionError" not in caught.value.response.text


def test_a_flow_takes_chats_only(up: Up) -> None:
    with up.client() as client, pytest.raises(APIStatusError, match="takes chat messages only"):
        client.completions.create(model="shout", prompt="hi")


def test_what_was_asked_is_counted(up: Up) -> None:
    with up.client() as client:
        client.chat.completions.create(model="shout", messages=says("hi"))
    text = httpx.get(f"{up.url}/metrics").text
    assert 'sage_requests_total{kind="chat",model="shout",outcome="finished",service_class="interactive"}' in text
    assert 'model="nobody"' not in text


def test_a_flow_that_is_cancelled_is_gone_and_may_be_submitted_again(up: Up) -> None:
    other = up.user.home / "other.py"
    other.write_text('import sage\nother = sage.Flow("o")\nother.from_chat("other").map(str).reply()\n')
    with up.client() as client:
        for _ in range(2):
            job_id = up.user.json("submit", str(other))["job_id"]
            up.wait_for("other")
            assert client.chat.completions.create(model="other", messages=says("hi")).choices[0].message.content
            up.user("cancel", job_id)
            eventually(lambda: httpx.get(f"{up.url}/v1/models/other").status_code == 404, DEADLINE_S)
            with pytest.raises(NotFoundError):
                client.chat.completions.create(model="other", messages=says("hi"))


def test_a_cluster_that_ends_is_told_and_found_again_when_it_is_back(up: Up) -> None:
    up.user("stop")
    with up.client() as client, pytest.raises(InternalServerError) as caught:
        client.chat.completions.create(model="shout", messages=says("hi"))
    assert (caught.value.status_code, caught.value.code) == (503, "cluster_lost")
    assert "retry-after" in caught.value.response.headers
    assert httpx.get(f"{up.url}/readyz").status_code == 503
    up.user("start", "--nodes", "1", "--engine", "simulated:cpu2,model=sim")
    eventually(lambda: httpx.get(f"{up.url}/readyz").status_code == 200, DEADLINE_S)
    up.user("submit", f"{FLOWS}:chats")
    up.wait_for("talk")
    with up.client() as client:
        assert client.chat.completions.create(model="shout", messages=says("hi")).choices[0].message.content == "HI"
