"""An OpenAI-compatible server that breaks in every way, and what is made of it."""

import json
import select
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec
import pytest

from cluster.serving.engines.openai_start import openai_engine
from cluster.serving.engines.port import Engine
from cluster.serving.engines.spec import spec_from_text
from sage.base.errors import ConfigInvalid, EngineLost, EngineStartFailed
from sage.base.ids import EngineId, RequestId
from sage.base.inference import (
    ChatMessage,
    ChatRequest,
    Embedded,
    EmbedRequest,
    Failed,
    Finished,
    GenerateRequest,
    Reply,
    Request,
    Sampling,
    Token,
    Usage,
)
from tests.unit.engines.scripted_server import HANG, ScriptedServer, events, http, scripted_server

MODELS = http(b'{"object":"list","data":[{"id":"m","max_model_len":100},{"id":"other"}]}')
CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
WAIT_MS = 10_000


def chunk(text: str | None = None, reason: str | None = None, **more: object) -> str:
    choice = {"index": 0, "delta": {"content": text} if text is not None else {}, "finish_reason": reason}
    return json.dumps({"id": "x", "choices": [choice], **more})


USAGE = json.dumps({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}})
GOOD = events(chunk("a"), chunk("b"), chunk(reason="stop"), USAGE, "[DONE]")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as script:
        script.answers["/v1/models"] = [MODELS]
        yield script


@contextmanager
def engine_at(server: ScriptedServer, more: str = "") -> Iterator[Engine]:
    engine = openai_engine(spec_from_text(f"openai:{server.url},model=m{more}"), EngineId("e"), appear_s=0.0)
    try:
        yield engine
    finally:
        engine.close()


def ask_chat(sampling: Sampling = Sampling()) -> ChatRequest:
    return ChatRequest(RequestId("r"), "m", (ChatMessage("user", "hi"),), sampling)


def replies_to(engine: Engine, requests: Sequence[Request]) -> list[Reply]:
    """Ask, and wait for every end."""
    engine.add(requests)
    return wait_for(engine, len(requests))


def wait_for(engine: Engine, num_ends: int) -> list[Reply]:
    replies: list[Reply] = []
    while sum(not isinstance(reply, Token) for reply in replies) < num_ends:
        replies += next_replies(engine)
    return replies


def next_replies(engine: Engine) -> list[Reply]:
    poll = select.poll()
    assert engine.wake_fd is not None
    poll.register(engine.wake_fd, select.POLLIN)
    assert engine.due_in_s() == 0.0 or poll.poll(WAIT_MS), "nothing came within its deadline"
    return engine.step()


def failure(server: ScriptedServer, answer: bytes, more: str = "") -> tuple[str, str]:
    server.answers[CHAT] = [answer]
    with engine_at(server, more) as engine:
        last = replies_to(engine, [ask_chat()])[-1]
    assert isinstance(last, Failed), last
    return last.failure.code, last.failure.what


def test_an_answer_comes_in_pieces_with_its_usage(server: ScriptedServer) -> None:
    server.answers[CHAT] = [GOOD]
    with engine_at(server) as engine:
        replies = replies_to(engine, [ask_chat(Sampling(5, 0.5, 1.0, 3, ("x",)))])
    assert "".join(reply.text for reply in replies if isinstance(reply, Token)) == "ab"
    assert replies[-1] == Finished(RequestId("r"), "stop", Usage(7, 2), EngineId("e"))
    body = json.loads(server.heard[-1].partition(b"\r\n\r\n")[2])
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 1.0,
        "seed": 3,
        "stop": ["x"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_raw_prompt_without_a_length_may_go_on_to_the_end_of_the_context(server: ScriptedServer) -> None:
    said = json.dumps({"choices": [{"index": 0, "text": "on", "finish_reason": "length"}]})
    server.answers[COMPLETIONS] = [events(said, "[DONE]")]
    with engine_at(server) as engine:
        last = replies_to(engine, [GenerateRequest(RequestId("r"), "m", "0123456789")])[-1]
    assert last == Finished(RequestId("r"), "length", Usage(0, 1), EngineId("e"))
    assert json.loads(server.heard[-1].partition(b"\r\n\r\n")[2])["max_tokens"] == 100 - 10 - 8


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (events("{not json", cut=True), "SAGE-2207", "no chunk of an answer"),
        (events('{"choices": 5}'), "SAGE-2207", "no chunk of an answer"),
        (events("[]"), "SAGE-2207", "no chunk of an answer"),
        (events('{"choices": [{"index": 0, "delta": {"content": 7}}]}'), "SAGE-2207", "no chunk of an answer"),
        (events('{"choices": [{"index": 1, "delta": {"content": "b"}}]}'), "SAGE-2207", "more than the one text"),
        (events(chunk("a"), chunk(reason="content_filter")), "SAGE-2207", "content_filter"),
        (events(chunk("a")), "SAGE-2203", "in the middle, after 1 pieces"),
        (events(chunk("a"), "[DONE]"), "SAGE-2203", "in the middle"),
        (events(chunk("a"), cut=True), "SAGE-2203", "broke its answer off"),
        (events(), "SAGE-2203", "in the middle, after 0 pieces"),
        (events(chunk("a"), '{"error": {"message": "out of memory"}}'), "SAGE-2207", "out of memory"),
        (events('{"error": {"message": "busy", "code": 503}}'), "SAGE-2201", "busy"),
        (events('{"error": {"message": "x", "code": "context_length_exceeded"}}'), "SAGE-1204", "100 tokens"),
        (events('{"error": "just words"}'), "SAGE-2207", "just words"),
        (events("x" * 1_100_000, cut=True), "SAGE-2207", "an event of more than"),
        (http(b'{"error": {"message": "late"}}'), "SAGE-2207", "late"),
        (http(b'{"choices": []}'), "SAGE-2207", "application/json where events were asked for"),
        (http(b"<html>", kind="text/html"), "SAGE-2207", "text/html"),
        (http(b"", status=500), "SAGE-2207", "answered 500"),
        (http(b'{"detail": "boom"}', status=500), "SAGE-2207", "boom"),
        (http(b'{"error": {"message": "sk-secret is wrong"}}', status=401), "SAGE-2207", "refuses us with 401"),
        (http(b'{"error": {"message": "bad top_p", "param": "top_p"}}', status=400), "SAGE-1203", "bad top_p"),
        (http(b'{"object": "error", "message": "maximum context length is 9"}', status=400), "SAGE-1204", "is 9"),
        (http(b'{"error": {"message": "greater than max_model_len=9"}}', status=400), "SAGE-1204", "max_model_len"),
        (http(b'{"error": {"message": "no model m"}}', status=404), "SAGE-1201", "no model m"),
        (http(b"", status=302, more="location: http://127.0.0.1:1/\r\n"), "SAGE-2207", "answered 302"),
        (http(b"{}", status=429, more="retry-after: 7\r\n"), "SAGE-2201", "answered 429"),
        (http(b"", status=502), "SAGE-2203", "stands behind it"),
        (b"not http at all\r\n\r\n", "SAGE-2203", "broke its answer off"),
        (b"", "SAGE-2203", "broke its answer off"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n", "SAGE-2203", "broke its answer off"),
    ],
)
def test_whatever_a_server_does_wrong_becomes_one_typed_end(
    server: ScriptedServer, answer: bytes, code: str, says: str
) -> None:
    said = failure(server, answer)
    assert said[0] == code
    assert says in said[1]
    assert "sk-secret" not in said[1]
    assert "127.0.0.1" not in said[1], "whoever asks has no use for the address"


def test_an_error_names_the_engine_and_the_log_its_address(
    server: ScriptedServer, capfd: pytest.CaptureFixture[str]
) -> None:
    code, what = failure(server, http(b'{"error": {"message": "no memory"}}', status=500))
    assert (code, what) == ("SAGE-2207", "engine 'e' answered 500: no memory")
    assert server.url in "".join(capfd.readouterr())


def test_a_server_that_falls_silent_is_not_waited_for_for_ever(server: ScriptedServer) -> None:
    code, what = failure(server, events(chunk("a"), cut=True) + HANG, ",max_silence_s=0.05")
    assert code == "SAGE-2207"
    assert "silent for 0.05 s" in what


def test_the_time_of_a_refusal_is_passed_on(server: ScriptedServer) -> None:
    server.answers[CHAT] = [http(b"{}", status=503, more="retry-after: 7\r\n")]
    with engine_at(server) as engine:
        last = replies_to(engine, [ask_chat()])[-1]
    assert isinstance(last, Failed)
    assert last.failure.retry_after_s == 7.0


def test_a_cancel_ends_the_connection_before_the_first_token_too(server: ScriptedServer) -> None:
    server.answers[CHAT] = [events(cut=True) + HANG]
    with engine_at(server) as engine:
        engine.add([ask_chat()])
        assert server.was_asked.wait(WAIT_MS / 1000)
        engine.cancel([RequestId("r")])
        (last,) = wait_for(engine, 1)
        assert isinstance(last, Failed)
        assert last.failure.code == "SAGE-2206"
        assert server.was_left.wait(WAIT_MS / 1000), "the server was not told"


def test_of_an_answer_that_was_given_back_nothing_is_taken_for_the_next(server: ScriptedServer) -> None:
    server.answers[CHAT] = [events(chunk("old"), cut=True) + HANG, GOOD]
    with engine_at(server) as engine:
        engine.add([ask_chat()])
        assert engine.wake_fd is not None
        assert select.select([engine.wake_fd], [], [], WAIT_MS / 1000)[0], "the first piece has come, and is not taken"
        engine.cancel([RequestId("r")])
        engine.add([ask_chat()])
        cancelled, *again = wait_for(engine, 2)
    assert isinstance(cancelled, Failed)
    assert cancelled.failure.code == "SAGE-2206"
    assert "".join(reply.text for reply in again if isinstance(reply, Token)) == "ab"
    assert again[-1] == Finished(RequestId("r"), "stop", Usage(7, 2), EngineId("e"))
    assert server.was_left.wait(WAIT_MS / 1000), "the server was told that nobody waits for the first"


def test_a_server_that_is_gone_ends_the_engine_after_its_replies(server: ScriptedServer) -> None:
    with scripted_server() as gone:
        gone.answers["/v1/models"] = [MODELS]
        engine = openai_engine(spec_from_text(f"openai:{gone.url},model=m"), EngineId("e"), appear_s=0.0)
    try:
        last = replies_to(engine, [ask_chat()])[-1]
        assert isinstance(last, Failed)
        assert (last.failure.code, last.failure.what) == ("SAGE-2203", "nobody answers at engine 'e'")
        with pytest.raises(EngineLost, match="nobody answers"):
            next_replies(engine) or next_replies(engine)
    finally:
        engine.close()


def test_the_key_comes_from_the_environment_and_goes_to_the_server_alone(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigInvalid, match="TRY_KEY is not set"), engine_at(server, ",key_env=TRY_KEY"):
        pass
    for no_key in ("sk-1\n", "sk-é"):
        monkeypatch.setenv("TRY_KEY", no_key)
        with pytest.raises(ConfigInvalid, match="TRY_KEY holds no key"), engine_at(server, ",key_env=TRY_KEY"):
            pass
    monkeypatch.setenv("TRY_KEY", "sk-1")
    server.answers[CHAT] = [GOOD]
    with engine_at(server, ",key_env=TRY_KEY") as engine:
        replies_to(engine, [ask_chat()])
        assert "sk-1" not in repr(vars(engine)) + repr(engine.info())
    assert b"\r\nauthorization: bearer sk-1\r\n" in server.heard[-1].lower()


@pytest.mark.parametrize(
    ("models", "more", "says"),
    [
        (http(b'{"data":[{"id":"n"}]}'), "", "serves no model 'm'"),
        (http(b"{}"), "", "no list of models"),
        (http(b"", status=401), "", "refuses us"),
        (http(b'{"data":[{"id":"m"}]}'), ",role=embedding,context_tokens=9", "does not embed"),
    ],
)
def test_a_server_that_cannot_serve_the_model_does_not_become_an_engine(
    server: ScriptedServer, models: bytes, more: str, says: str
) -> None:
    server.answers["/v1/models"] = [models]
    with pytest.raises(EngineStartFailed, match=says), engine_at(server, more):
        pass


def test_a_context_that_nobody_tells_is_asked_for(server: ScriptedServer) -> None:
    server.answers["/v1/models"] = [http(b'{"data":[{"id":"m"}]}')]
    with pytest.raises(ConfigInvalid, match="context_tokens=NUMBER"), engine_at(server):
        pass
    with engine_at(server, ",context_tokens=50") as engine:
        assert engine.info().models[0].context_tokens == 50


def with_adapters(server: ScriptedServer) -> None:
    """Let a server list an adapter, one of another model, and names that it had better not."""
    odd = [{"id": name, "parent": "m"} for name in ("m", "sql", "", "\x1b[2J", "model-of-another-engine")]
    listed = [{"id": "m", "max_model_len": 64}, {"id": "sql", "parent": "m"}, {"id": "far", "parent": "other"}, *odd]
    server.answers["/v1/models"] = [http(json.dumps({"data": listed}).encode())]


def test_a_server_gets_no_model_of_another_engine_by_listing_it_as_its_adapter(server: ScriptedServer) -> None:
    with_adapters(server)
    with engine_at(server) as engine:
        assert [card.name for card in engine.info().models] == ["m"]


@pytest.mark.parametrize("name", ["far", "nowhere"])
def test_an_adapter_that_the_server_does_not_list_is_missed_at_the_start(server: ScriptedServer, name: str) -> None:
    with_adapters(server)
    says = f"lists no adapter '{name}' of 'm'"
    with pytest.raises(EngineStartFailed, match=says) as failed, engine_at(server, f",adapter={name}"):
        pass
    assert failed.value.do.isprintable()
    assert "'sql'" in failed.value.do


def test_adapters_of_the_model_are_those_that_are_named_and_are_asked_for_by_name(server: ScriptedServer) -> None:
    with_adapters(server)
    server.answers[CHAT] = [GOOD]
    with engine_at(server, ",adapter=sql,adapter_slots=2") as engine:
        assert [(card.name, card.parent, card.context_tokens) for card in engine.info().models] == [
            ("m", None, 64),
            ("sql", "m", 64),
        ]
        assert engine.info().adapter_slots == 2
        replies_to(engine, [msgspec.structs.replace(ask_chat(), model="sql")])
    assert json.loads(server.heard[-1].partition(b"\r\n\r\n")[2])["model"] == "sql"


def vectors(*rows: list[float]) -> bytes:
    data = [{"index": number, "embedding": row} for number, row in enumerate(rows)]
    return http(json.dumps({"data": data, "usage": {"prompt_tokens": 3}}).encode())


def test_embeddings_end_in_order_and_a_failure_waits_for_none(server: ScriptedServer) -> None:
    server.answers[EMBEDDINGS] = [vectors([3.0, 4.0])]
    with engine_at(server, ",role=embedding,max_running=1") as engine:
        server.answers[EMBEDDINGS] = [vectors([3.0, 4.0]), http(b"{}", status=400), vectors([0.0, 2.0])]
        replies = replies_to(engine, [EmbedRequest(RequestId(name), "m", ("t",)) for name in "abc"])
    assert sorted(reply.request_id for reply in replies) == ["a", "b", "c"]
    assert [reply.request_id for reply in replies if isinstance(reply, Embedded)] == ["a", "c"]
    assert replies[0] == Embedded(RequestId("a"), b"\x9a\x99\x19?\xcd\xccL?", 2, Usage(3), EngineId("e"))


@pytest.mark.parametrize(
    "answer",
    [
        vectors(),
        vectors([1.0]),
        vectors([1.0, 2.0], [1.0, 2.0]),
        http(b'{"data": [{"index": 0, "embedding": "not base64"}]}'),
        http(b'{"data": [{"index": 0, "embedding": [1e999, 0]}]}'),
        http(b'{"data": [{"index": 4, "embedding": [1.0, 0.0]}]}'),
        http(b"[]"),
        http(b"\xff\xfe"),
    ],
)
def test_what_are_no_vectors_of_the_texts_fails(server: ScriptedServer, answer: bytes) -> None:
    server.answers[EMBEDDINGS] = [vectors([3.0, 4.0]), answer]
    with engine_at(server, ",role=embedding") as engine:
        (last,) = replies_to(engine, [EmbedRequest(RequestId("r"), "m", ("t",))])
    assert isinstance(last, Failed)
    assert last.failure.code == "SAGE-2207"
