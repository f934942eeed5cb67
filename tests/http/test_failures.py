"""What fails after it was asked: the status, the headers and the exact body; once events flow, a typed event."""

import json

import httpx
import pytest
from openai import APIError, BadRequestError, InternalServerError, NotFoundError

from sage.base.errors import (
    BudgetSpent,
    ContextOverflow,
    DeadlineExceeded,
    EngineLost,
    InternalError,
    NoEngine,
    Overloaded,
    QuotaExceeded,
    RequestFailed,
    SageError,
    UnknownModel,
)
from sage.base.inference import Failure, ModelCard, Reply, Request
from tests.http.clients import openai_client, post
from tests.http.scripted import ScriptedInference, fails
from tests.http.served import served

CHAT = "/v1/chat/completions"
HI = [{"role": "user", "content": "hi"}]
BODY = {"model": "scripted", "messages": HI}
ID = {"x-request-id": "test-1"}


FAILURES: list[tuple[SageError, int, dict[str, str | None], dict[str, str]]] = [
    (
        UnknownModel("no model 'gpt' is served here", "Ask for scripted.", param="model"),
        404,
        {
            "message": "no model 'gpt' is served here. Ask for scripted.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        },
        {"x-sage-error": "SAGE-1201"},
    ),
    (
        ContextOverflow("9,000 tokens do not fit 8,192", "Send less.", param="messages"),
        400,
        {
            "message": "9,000 tokens do not fit 8,192. Send less.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        },
        {"x-sage-error": "SAGE-1204"},
    ),
    (
        NoEngine("no engine serves scripted", "Start one.", param="model"),
        503,
        {
            "message": "no engine serves scripted. Start one.",
            "type": "server_error",
            "param": "model",
            "code": "no_engine",
        },
        {"retry-after": "5", "retry-after-ms": "5000", "x-sage-error": "SAGE-2202"},
    ),
    (
        Overloaded("4096 requests wait", retry_after_s=1.25),
        503,
        {"message": "4096 requests wait.", "type": "server_error", "param": None, "code": "overloaded"},
        {"retry-after": "2", "retry-after-ms": "1250", "x-sage-error": "SAGE-2201"},
    ),
    (
        QuotaExceeded("tenant 'a' has used up its 60 tokens a minute", "Try again in 3.5 s.", retry_after_s=3.5),
        429,
        {
            "message": "tenant 'a' has used up its 60 tokens a minute. Try again in 3.5 s.",
            "type": "rate_limit_error",
            "param": None,
            "code": "rate_limit_exceeded",
        },
        {"retry-after": "4", "retry-after-ms": "3500", "x-sage-error": "SAGE-2208"},
    ),
    (
        BudgetSpent("tenant 'a' has 0 of its 60 tokens of this day left", "It begins anew.", retry_after_s=7200.0),
        429,
        {
            "message": "tenant 'a' has 0 of its 60 tokens of this day left. It begins anew.",
            "type": "insufficient_quota",
            "param": None,
            "code": "insufficient_quota",
        },
        {"x-should-retry": "false", "x-sage-error": "SAGE-2209"},
    ),
    (
        EngineLost("the host of engine chat (pid 7) was killed", "Its last words:\n/home/secret"),
        503,
        {
            "message": "The engine that worked on this request was lost. If you ask about it, name test-1.",
            "type": "server_error",
            "param": None,
            "code": "engine_lost",
        },
        {"retry-after": "5", "x-sage-error": "SAGE-2203"},
    ),
    (
        DeadlineExceeded("1500 ms were over"),
        504,
        {"message": "1500 ms were over.", "type": "server_error", "param": None, "code": "deadline_exceeded"},
        {"x-should-retry": "false", "x-sage-error": "SAGE-2205"},
    ),
    (
        RequestFailed("RuntimeError at /home/secret", param="x"),
        500,
        {
            "message": "The engine failed on this request. If you ask about it, name test-1.",
            "type": "server_error",
            "param": None,
            "code": "request_failed",
        },
        {"x-sage-error": "SAGE-2207"},
    ),
    (
        InternalError("a frame of 3 bytes"),
        500,
        {
            "message": "The server failed on this request. If you ask about it, name test-1.",
            "type": "server_error",
            "param": None,
            "code": "internal_error",
        },
        {"x-sage-error": "SAGE-9001"},
    ),
]


@pytest.mark.parametrize(("error", "status", "body", "headers"), FAILURES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_failure_before_the_first_token_has_a_status_and_openais_body(
    url: str,
    inference: ScriptedInference,
    error: SageError,
    status: int,
    body: dict[str, str | None],
    headers: dict[str, str],
    stream: bool,
) -> None:
    inference.script = fails(Failure.of(error))
    answer = post(url, CHAT, {**BODY, "stream": stream}, ID)
    assert answer.status_code == status
    assert answer.json() == {"error": body}
    assert {name: answer.headers.get(name) for name in headers} == headers
    assert answer.headers["x-request-id"] == "test-1"
    says_when = status in (429, 503) and not isinstance(error, BudgetSpent)
    assert ("retry-after" in answer.headers) == says_when


def test_a_failure_after_the_first_token_is_a_typed_event_and_no_silent_end(
    url: str, inference: ScriptedInference
) -> None:
    inference.script = fails(Failure.of(EngineLost("the host of engine chat (pid 7) was killed")), "Hel", "lo")
    text = post(url, CHAT, {**BODY, "stream": True}, ID).text
    assert text.count('"content":"Hel"') == text.count('"content":"lo"') == 1
    assert "[DONE]" not in text
    last = json.loads(text.rstrip().split("\n\n")[-1].removeprefix("data: "))
    assert last == {
        "error": {
            "message": "The engine that worked on this request was lost. If you ask about it, name test-1.",
            "type": "server_error",
            "param": None,
            "code": "engine_lost",
        }
    }


def test_openais_client_raises_a_failure_after_the_first_token(url: str, inference: ScriptedInference) -> None:
    inference.script = fails(Failure.of(EngineLost("killed")), "Hel", "lo")
    with openai_client(url) as client:
        stream = client.completions.create(model="scripted", prompt="hi", stream=True)
        assert next(stream).choices[0].text == "Hel"
        assert next(stream).choices[0].text == "lo"
        with pytest.raises(APIError) as caught:
            next(stream)
    assert caught.value.code == "engine_lost"


def test_openais_client_raises_its_own_errors(url: str, inference: ScriptedInference) -> None:
    errors = {
        UnknownModel("no such model"): NotFoundError,
        ContextOverflow("too long"): BadRequestError,
        NoEngine("none is up"): InternalServerError,
    }
    with openai_client(url) as client:
        for error, raised in errors.items():
            inference.script = fails(Failure.of(error))
            with pytest.raises(raised):
                client.embeddings.create(model="vectors", input="a")


def test_what_nobody_foresaw_is_a_500_that_tells_nothing(url: str, inference: ScriptedInference) -> None:
    def broken(request: Request) -> list[Reply]:
        raise ZeroDivisionError("/home/secret")

    inference.script = broken
    answer = post(url, CHAT, BODY, ID)
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert "secret" not in answer.text
    assert "ZeroDivision" not in answer.text


def test_a_body_of_a_megabyte_is_read_and_the_engine_says_that_it_is_too_long(
    url: str, inference: ScriptedInference
) -> None:
    inference.script = fails(Failure.of(ContextOverflow("250,000 tokens do not fit 4,096")))
    answer = post(url, CHAT, {**BODY, "messages": [{"role": "user", "content": "word " * 200_000}]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")


def test_a_cold_route_that_fails_is_a_500_that_tells_nothing_either() -> None:
    class BrokenInference(ScriptedInference):
        def models(self) -> tuple[ModelCard, ...]:
            raise ZeroDivisionError("/home/secret")

    with served(BrokenInference(fails(Failure("SAGE-9001", "")))) as gateway:
        answer = httpx.get(f"{gateway.url}/v1/models")
        assert httpx.get(f"{gateway.url}/livez").status_code == 200
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
