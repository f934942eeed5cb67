"""Chat completions through OpenAI's own clients."""

import json

import httpx
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from sage.base.inference import ChatMessage, ChatRequest, Sampling, ServiceClass
from tests.http.clients import openai_client, post, with_async_client
from tests.http.scripted import ScriptedInference, says
from tests.http.served import served

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
BODY = {"model": "scripted", "messages": HI}


def test_a_chat_is_answered_whole_with_its_usage() -> None:
    with served(ScriptedInference(says("Hello", " there"))) as gateway, openai_client(gateway.url) as client:
        answer = client.chat.completions.create(model="scripted", messages=HI)
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == "scripted"
    assert [choice.index for choice in answer.choices] == [0]
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == "Hello there"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (7, 2, 9)


def test_a_chat_is_streamed_token_by_token() -> None:
    with served(ScriptedInference(says("Hello", " there"))) as gateway, openai_client(gateway.url) as client:
        chunks = list(client.chat.completions.create(model="scripted", messages=HI, stream=True))
    assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant", None, None, None]
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "Hello", " there", None]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, "stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert all("usage" not in chunk.model_fields_set for chunk in chunks)


def test_usage_is_a_last_chunk_without_choices_where_it_is_asked_for() -> None:
    with served(ScriptedInference(says("a", "b"))) as gateway, openai_client(gateway.url) as client:
        options = {"include_usage": True}
        body = {**BODY, "stream": True, "stream_options": options}
        text = post(gateway.url, "/v1/chat/completions", body).text
        chunks = list(
            client.chat.completions.create(
                model="scripted", messages=HI, stream=True, stream_options={"include_usage": True}
            )
        )
    assert [chunk.usage is None for chunk in chunks] == [True, True, True, True, False]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 9
    assert text.count('"usage":null') == 4


def test_a_stream_is_server_sent_events_that_end_with_done() -> None:
    with served(ScriptedInference(says("a"))) as gateway:
        answer = post(gateway.url, "/v1/chat/completions", {**BODY, "stream": True})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(event.startswith("data: {") for event in events[:-2])
    assert json.loads(events[1].removeprefix("data: "))["choices"] == [
        {"index": 0, "delta": {"content": "a"}, "logprobs": None, "finish_reason": None}
    ]


def test_tokens_that_wait_together_travel_together() -> None:
    body = {**BODY, "stream": True}
    with (
        served(ScriptedInference(says(*("x" for _ in range(50))))) as gateway,
        httpx.stream("POST", f"{gateway.url}/v1/chat/completions", json=body) as answer,
    ):
        writes = [piece for piece in answer.iter_raw() if piece]
    assert len(writes) <= 2
    assert b"".join(writes).count(b'"content":"x"') == 50


def test_the_async_client_streams_too() -> None:
    async def use(client: AsyncOpenAI) -> str:
        stream = await client.chat.completions.create(model="scripted", messages=HI, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    with served(ScriptedInference(says("Grüße", " 你好", " 🙂"))) as gateway:
        assert with_async_client(gateway.url, use) == "Grüße 你好 🙂"


def test_every_parameter_reaches_the_request() -> None:
    inference = ScriptedInference(says("a", reason="length"))
    with served(inference) as gateway, openai_client(gateway.url) as client:
        answer = client.chat.completions.create(
            model="scripted",
            messages=[
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                {"role": "assistant", "content": "c"},
                {"role": "user", "content": "d"},
            ],
            max_completion_tokens=5,
            temperature=0.5,
            top_p=0.9,
            seed=-1,
            stop=["\n", "END"],
            n=1,
            user="somebody",
            extra_headers={"x-sage-priority": "batch", "x-sage-deadline-ms": "1500"},
        )
    assert answer.choices[0].finish_reason == "length"
    [request] = inference.requests
    assert isinstance(request, ChatRequest)
    assert request.messages == (
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "ab"),
        ChatMessage("assistant", "c"),
        ChatMessage("user", "d"),
    )
    assert request.sampling == Sampling(5, 0.5, 0.9, 2**63 - 1, ("\n", "END"))
    assert request.service_class is ServiceClass.BATCH
    assert request.timeout_s == 1.5


def test_what_is_not_given_is_as_openai_has_it() -> None:
    inference = ScriptedInference(says("a"))
    with served(inference) as gateway:
        post(gateway.url, "/v1/chat/completions", {**BODY, "stop": "x", "max_tokens": None, "tools": None})
    [request] = inference.requests
    assert isinstance(request, ChatRequest)
    assert request.sampling == Sampling(None, 1.0, 1.0, None, ("x",))
    assert request.service_class is ServiceClass.INTERACTIVE
    assert request.timeout_s is None


@pytest.mark.parametrize("given", ["my-request-1", "a" * 128])
def test_the_callers_request_id_is_echoed(given: str) -> None:
    with served(ScriptedInference(says("a"))) as gateway:
        answer = post(gateway.url, "/v1/chat/completions", BODY, {"x-request-id": given})
        streamed = post(gateway.url, "/v1/chat/completions", {**BODY, "stream": True}, {"x-request-id": given})
        own = post(gateway.url, "/v1/chat/completions", BODY)
    assert answer.headers["x-request-id"] == streamed.headers["x-request-id"] == given
    assert own.headers["x-request-id"].startswith("req-")
