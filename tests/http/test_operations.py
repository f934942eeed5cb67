"""The routes that are not hot: models, health, metrics, the page; and a gateway that stops."""

import threading

import httpx
import pytest

from gateway.server import listen
from sage.base.errors import ConfigInvalid
from sage.base.inference import Kind, ModelCard
from tests.http.clients import WAIT_S, openai_client, post
from tests.http.scripted import CHAT, EMBED, ScriptedInference, begins, says
from tests.http.served import served

CALL = ("/v1/chat/completions", {"model": "scripted", "messages": [{"role": "user", "content": "hi"}]})


def test_models_are_listed_and_shown() -> None:
    with served(ScriptedInference(says("a"))) as gateway, openai_client(gateway.url) as client:
        assert [model.id for model in client.models.list()] == ["scripted", "vectors"]
        model = client.models.retrieve("vectors")
        shown = httpx.get(f"{gateway.url}/v1/models/vectors").json()
    assert (model.id, model.object, model.owned_by) == ("vectors", "model", "sage")
    assert (shown["kinds"], shown["context_tokens"], shown["dim"]) == (["embed"], 256, 4)
    assert (shown["root"], shown["parent"]) == ("vectors", None)


def test_an_adapter_is_listed_with_the_model_that_it_changes() -> None:
    sql = ModelCard("sql", (Kind.CHAT,), 2048, parent=CHAT.name)
    with served(ScriptedInference(says("a"), models=(CHAT, sql))) as gateway:
        shown = httpx.get(f"{gateway.url}/v1/models/sql").json()
    assert (shown["id"], shown["root"], shown["parent"]) == ("sql", "scripted", "scripted")


def test_a_gateway_without_engines_lives_but_is_not_ready() -> None:
    inference = ScriptedInference(says("a"), models=())
    with served(inference) as gateway:
        alive = [httpx.get(gateway.url + path).status_code for path in ("/livez", "/health")]
        idle = httpx.get(f"{gateway.url}/readyz")
        inference.served = (CHAT, EMBED)
        ready = httpx.get(f"{gateway.url}/readyz")
    assert alive == [200, 200]
    assert (idle.status_code, idle.json()) == (503, {"status": "not ready", "reason": "no engine is ready"})
    assert "retry-after" in idle.headers
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "models": ["scripted", "vectors"]})


def test_metrics_tell_how_long_callers_waited() -> None:
    with served(ScriptedInference(says("a", "b"))) as gateway:
        post(gateway.url, *CALL)
        text = httpx.get(f"{gateway.url}/metrics").text
    assert 'sage_request_ttft_seconds_count{model="scripted",service_class="interactive"} 1.0' in text
    assert 'sage_request_duration_seconds_count{kind="chat",model="scripted",service_class="interactive"} 1.0' in text


def test_the_page_says_what_is_served_and_how_to_call_it() -> None:
    evil = ModelCard("<script>alert(1)</script>", CHAT.kinds, 10)
    with served(ScriptedInference(says("a"), models=(CHAT, EMBED, evil))) as gateway:
        page = httpx.get(gateway.url + "/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "script" not in policy
    assert "<script" not in page.text
    assert f"{gateway.url}/v1/chat/completions" in page.text
    assert f"base_url=&quot;{gateway.url}/v1&quot;" in page.text
    assert "scripted" in page.text
    assert "vectors" in page.text


def test_a_gateway_that_stops_says_so_finishes_what_it_has_and_takes_nothing_new() -> None:
    inference = ScriptedInference(begins("a"))
    answers: list[httpx.Response] = []
    with served(inference, drain_s=WAIT_S) as gateway:
        caller = threading.Thread(target=lambda: answers.append(post(gateway.url, *CALL)))
        caller.start()
        assert inference.submitted.wait(WAIT_S)
        with httpx.Client(base_url=gateway.url) as client:
            assert client.get("/readyz").status_code == 200
            gateway.begin_stop()
            gateway.call(lambda: None)
            not_ready = client.get("/readyz")
            refused = post(gateway.url, *CALL)
            alive = client.get("/livez")
        [request] = inference.requests
        gateway.call(lambda: inference.say(request, says("b")(request)))
        caller.join(WAIT_S)
    assert (not_ready.status_code, not_ready.json()["reason"]) == (503, "draining: the server is stopping")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
    assert refused.headers["retry-after"] == "5"
    assert alive.status_code == 200
    assert answers[0].json()["choices"][0]["message"]["content"] == "ab"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_does_not_end_while_the_gateway_stops_ends_with_a_typed_error(stream: bool) -> None:
    inference = ScriptedInference(begins("a"))
    answers: list[httpx.Response] = []
    with served(inference, drain_s=0.05) as gateway:
        body = {**CALL[1], "stream": stream}
        caller = threading.Thread(target=lambda: answers.append(post(gateway.url, CALL[0], body)))
        caller.start()
        assert inference.submitted.wait(WAIT_S)
        gateway.begin_stop()
        caller.join(WAIT_S)
    assert answers[0].status_code == (200 if stream else 503)
    assert '"code":"overloaded"' in answers[0].text
    assert len(inference.cancelled_ids) == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org"])
def test_an_address_that_others_can_reach_is_refused(host: str) -> None:
    with pytest.raises(ConfigInvalid, match="other machines"):
        listen(host, 0)


def test_a_port_that_is_taken_is_named() -> None:
    with served(ScriptedInference(says("a"))) as gateway:
        port = httpx.URL(gateway.url).port
        assert port is not None
        with pytest.raises(ConfigInvalid, match=f"port {port} of 127.0.0.1 is taken"):
            listen("127.0.0.1", port)
