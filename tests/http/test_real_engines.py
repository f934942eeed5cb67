"""The embedded engines behind `sage-gateway serve`, as it starts without any option."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from openai import AsyncOpenAI, BadRequestError
from openai.types.chat import ChatCompletionMessageParam

from tests.http.clients import openai_client, post, with_async_client
from tests.http.command import Command, run_serve, serve

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Name three colours."}]


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    with serve(directory=tmp_path_factory.mktemp("serve")) as running:
        yield running


@pytest.mark.engines
def test_both_embedded_models_are_served(command: Command) -> None:
    assert command.line == f"Serving smollm2, minilm at {command.url}"
    models = httpx.get(f"{command.url}/v1/models").json()["data"]
    assert {model["id"]: model["simulated"] for model in models} == {"smollm2": False, "minilm": False}


@pytest.mark.engines
def test_a_seeded_chat_is_repeatable_whole_and_streamed(command: Command) -> None:
    async def stream(client: AsyncOpenAI) -> str:
        chunks = await client.chat.completions.create(
            model="smollm2", messages=HI, max_tokens=12, temperature=0.8, seed=7, stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

    with openai_client(command.url) as client:
        whole = client.chat.completions.create(model="smollm2", messages=HI, max_tokens=12, temperature=0.8, seed=7)
    assert whole.choices[0].message.content == with_async_client(command.url, stream)
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 12
    assert whole.choices[0].finish_reason == "length"


@pytest.mark.engines
def test_near_texts_have_near_vectors(command: Command) -> None:
    with openai_client(command.url) as client:
        answer = client.embeddings.create(model="minilm", input=["a cat", "a kitten", "stock prices fell"])
    cat, kitten, stocks = (item.embedding for item in answer.data)
    assert len(cat) == 384
    assert dot(cat, kitten) > dot(cat, stocks) + 0.2


@pytest.mark.engines
def test_a_prompt_of_a_megabyte_is_refused(command: Command) -> None:
    with openai_client(command.url) as client, pytest.raises(BadRequestError) as caught:
        client.chat.completions.create(model="smollm2", messages=[{"role": "user", "content": "word " * 200_000}])
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.engines
def test_a_chat_is_counted_as_it_is_answered(command: Command) -> None:
    counted = post(command.url, "/tokenize", {"model": "smollm2", "messages": HI}).json()
    with openai_client(command.url) as client:
        answer = client.chat.completions.create(model="smollm2", messages=HI, max_tokens=12, temperature=0.8, seed=7)
    assert answer.usage is not None
    assert (counted["count"], counted["max_model_len"]) == (answer.usage.prompt_tokens, 8192)
    assert len(counted["tokens"]) == counted["count"]


@pytest.mark.engines
@pytest.mark.parametrize(
    ("model", "special", "strings"),
    [("smollm2", 0, ["na", "ïve", " sea"]), ("minilm", 2, ["[CLS]", "naive", "sea", "[SEP]"])],
)
def test_a_text_becomes_tokens_and_these_a_text(command: Command, model: str, special: int, strings: list[str]) -> None:
    asked = {"model": model, "prompt": "naïve sea"}
    told = post(command.url, "/tokenize", {**asked, "return_token_strs": True}).json()
    assert told["token_strs"] == strings
    bare = post(command.url, "/tokenize", {**asked, "add_special_tokens": False}).json()
    assert told["count"] - bare["count"] == special
    text = post(command.url, "/detokenize", {"model": model, "tokens": bare["tokens"]}).json()["prompt"]
    assert text == ("naïve sea" if model == "smollm2" else "naive sea")


@pytest.mark.engines
@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/tokenize", {"prompt": "word " * 200_000}, "context_length_exceeded"),
        ("/detokenize", {"tokens": [1, 49_152]}, "invalid_value"),
    ],
)
def test_what_a_real_tokenizer_cannot_take_is_refused(
    command: Command, path: str, body: dict[str, object], code: str
) -> None:
    refused = post(command.url, path, {"model": "smollm2", **body})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, code)


def test_models_that_are_missing_are_named(tmp_path: Path) -> None:
    (tmp_path / "sage.toml").write_text(f'[models]\ncache_dir = "{tmp_path / "empty"}"\n')
    ended = run_serve(["--port", "0"], tmp_path)
    assert ended.returncode == 1
    assert "sage models pull smollm2 minilm" in ended.stderr


def dot(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))
