"""Embeddings through OpenAI's own clients: order, encodings, long lists."""

import base64
import struct
from collections.abc import Sequence

import pytest
from openai import AsyncOpenAI

from sage.base.inference import Embedded, EmbedRequest, Reply, Request, ServiceClass, Usage
from tests.http.clients import openai_client, post, with_async_client
from tests.http.scripted import ENGINE, ScriptedInference
from tests.http.served import served


def vectors_of_numbers(request: Request) -> Sequence[Reply]:
    """Embed the text "17" as [17.0, 0.5, 0.0, 0.0], for 2 tokens a text."""
    assert isinstance(request, EmbedRequest)
    data = b"".join(struct.pack("<4f", float(text), 0.5, 0.0, 0.0) for text in request.texts)
    return [Embedded(request.id, data, 4, Usage(2 * len(request.texts)), ENGINE)]


def test_a_list_comes_back_in_its_order_through_the_client() -> None:
    with served(ScriptedInference(vectors_of_numbers)) as gateway, openai_client(gateway.url) as client:
        answer = client.embeddings.create(model="vectors", input=["3", "1", "2"])
    assert [item.embedding for item in answer.data] == [
        [3.0, 0.5, 0.0, 0.0],
        [1.0, 0.5, 0.0, 0.0],
        [2.0, 0.5, 0.0, 0.0],
    ]
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (6, 6)


def test_floats_and_base64_say_the_same() -> None:
    with served(ScriptedInference(vectors_of_numbers)) as gateway:
        body = {"model": "vectors", "input": "7", "dimensions": 4}
        plain = post(gateway.url, "/v1/embeddings", body).json()
        coded = post(gateway.url, "/v1/embeddings", {**body, "encoding_format": "base64"}).json()
    assert plain["data"] == [{"object": "embedding", "index": 0, "embedding": [7.0, 0.5, 0.0, 0.0]}]
    assert struct.unpack("<4f", base64.b64decode(coded["data"][0]["embedding"])) == (7.0, 0.5, 0.0, 0.0)


def test_a_long_list_travels_as_several_requests_and_comes_back_as_one() -> None:
    inference = ScriptedInference(vectors_of_numbers)

    async def use(client: AsyncOpenAI) -> list[float]:
        answer = await client.embeddings.create(model="vectors", input=[str(number) for number in range(150)])
        return [item.embedding[0] for item in answer.data]

    with served(inference) as gateway:
        assert with_async_client(gateway.url, use) == [float(number) for number in range(150)]
    assert [len(request.texts) for request in inference.requests if isinstance(request, EmbedRequest)] == [64, 64, 22]
    [list_id] = {request.part_of for request in inference.requests if isinstance(request, EmbedRequest)}
    assert list_id == inference.requests[0].id


@pytest.mark.parametrize(
    ("given", "service_class"),
    [("1", ServiceClass.INTERACTIVE), (["1"], ServiceClass.INTERACTIVE), (["1", "2"], ServiceClass.STANDARD)],
)
def test_a_single_text_is_more_urgent_than_a_list(given: str | list[str], service_class: ServiceClass) -> None:
    inference = ScriptedInference(vectors_of_numbers)
    with served(inference) as gateway:
        assert post(gateway.url, "/v1/embeddings", {"model": "vectors", "input": given}).status_code == 200
    assert [request.service_class for request in inference.requests] == [service_class]
