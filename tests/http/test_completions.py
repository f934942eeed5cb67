"""Completions through OpenAI's own clients."""

from openai import AsyncOpenAI

from sage.base.inference import GenerateRequest, Sampling
from tests.http.clients import openai_client, with_async_client
from tests.http.scripted import ScriptedInference, says
from tests.http.served import served


def test_a_completion_is_answered_whole() -> None:
    inference = ScriptedInference(says(" upon", " a time", reason="length"))
    with served(inference) as gateway, openai_client(gateway.url) as client:
        answer = client.completions.create(model="scripted", prompt="Once", seed=3)
    assert answer.object == "text_completion"
    assert answer.id.startswith("cmpl-")
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == (" upon a time", "length")
    assert answer.usage is not None
    assert answer.usage.total_tokens == 9
    [request] = inference.requests
    assert isinstance(request, GenerateRequest)
    assert request.prompt == "Once"
    assert request.sampling == Sampling(16, 1.0, 1.0, 3)


def test_a_completion_is_streamed_with_its_usage_at_the_end() -> None:
    with served(ScriptedInference(says(" upon", " a time"))) as gateway, openai_client(gateway.url) as client:
        stream = client.completions.create(
            model="scripted", prompt=["Once"], stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
    assert [chunk.choices[0].text for chunk in chunks[:-1]] == [" upon", " a time", ""]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None


def test_the_async_client_completes_too() -> None:
    async def use(client: AsyncOpenAI) -> str:
        return (await client.completions.create(model="scripted", prompt="Once", max_tokens=2)).choices[0].text

    with served(ScriptedInference(says(" upon"))) as gateway:
        assert with_async_client(gateway.url, use) == " upon"
