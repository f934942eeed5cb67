"""POST /tokenize and /detokenize, as vLLM has them."""

import asyncio
import json
import threading
from collections.abc import Iterator

import pytest

from sage.base.errors import DeadlineExceeded, NoEngine
from sage.base.inference import ChatMessage, Failed, Failure
from sage.base.tokenizing import (
    MAX_TOKENIZED_CHARS,
    Detokenize,
    Detokenized,
    TokenizeChat,
    Tokenized,
    TokenizerAnswer,
    TokenizerQuestion,
    TokenizeText,
)
from tests.http.clients import post, raw_connection, raw_post
from tests.http.scripted import ScriptedInference, says
from tests.http.served import served

WAIT_S = 10.0


class CountingTokenizers:
    """Takes each character for a token. Tests see `asked`; where it `hangs`, it answers nobody."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.asked: list[tuple[TokenizerQuestion, float]] = []
        self.was_asked, self.was_left = threading.Event(), threading.Event()
        self._hangs = hangs

    async def ask_tokenizer(self, question: TokenizerQuestion, timeout_s: float) -> TokenizerAnswer:
        self.asked.append((question, timeout_s))
        self.was_asked.set()
        if self._hangs:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.was_left.set()
        match question:
            case Detokenize(tokens=tokens):
                return Detokenized(question.id, "".join(map(chr, tokens)))
            case TokenizeText(text="fail"):
                return Failed(question.id, Failure.of(NoEngine("no engine is up")))
            case TokenizeText(text="late"):
                raise DeadlineExceeded("too late")
            case TokenizeText(text=text):
                pass
            case TokenizeChat(messages=messages):
                text = "".join(message.content for message in messages)
        strings = tuple(text) if question.with_strings else None
        return Tokenized(question.id, tuple(map(ord, text)), 4096, strings)


@pytest.fixture(scope="module")
def counting() -> CountingTokenizers:
    return CountingTokenizers()


@pytest.fixture(scope="module")
def at(counting: CountingTokenizers) -> Iterator[str]:
    """The URL of a gateway over `counting`, which the tests share."""
    with served(ScriptedInference(says("a")), tokenizers=counting) as gateway:
        yield gateway.url


@pytest.fixture(autouse=True)
def _nothing_asked(counting: CountingTokenizers) -> None:
    counting.asked.clear()


def ask(url: str, path: str, body: object, **headers: str) -> tuple[int, dict]:  # type: ignore[type-arg]  # foreign JSON
    answer = post(url, path, body, headers=headers)
    return answer.status_code, answer.json()


def test_a_prompt_is_counted_and_its_tokens_are_told(at: str, counting: CountingTokenizers) -> None:
    said = ask(at, "/tokenize", {"model": "m", "prompt": "ab"})
    assert said == (200, {"count": 2, "max_model_len": 4096, "tokens": [97, 98], "token_strs": None})
    [(question, timeout_s)] = counting.asked
    assert (question, timeout_s) == (TokenizeText(question.id, "m", "ab"), 30.0)


def test_each_field_of_a_prompt_and_of_messages_is_taken(at: str, counting: CountingTokenizers) -> None:
    body = {"model": "m", "prompt": "ab", "add_special_tokens": False, "return_token_strs": True}
    assert ask(at, "/tokenize", body)[1]["token_strs"] == ["a", "b"]
    messages = [{"role": "developer", "content": "x"}, {"role": "user", "content": [{"type": "text", "text": "y"}]}]
    chat: dict[str, object] = {"model": "m", "messages": messages}
    assert ask(at, "/tokenize", chat, **{"x-sage-deadline-ms": "500"})[1]["count"] == 2
    ask(at, "/tokenize", chat | {"add_generation_prompt": False, "add_special_tokens": True})
    whole = (ChatMessage("system", "x"), ChatMessage("user", "y"))
    [first, second, third] = [question for question, _ in counting.asked]
    assert first == TokenizeText(first.id, "m", "ab", add_special_tokens=False, with_strings=True)
    assert second == TokenizeChat(second.id, "m", whole)
    assert third == TokenizeChat(third.id, "m", whole, add_generation_prompt=False, add_special_tokens=True)
    assert [timeout_s for _, timeout_s in counting.asked] == [30.0, 0.5, 30.0]


def test_tokens_become_text(at: str) -> None:
    assert ask(at, "/detokenize", {"model": "m", "tokens": [97, 98]}) == (200, {"prompt": "ab"})


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", {"model": "m"}, "prompt"),
        ("/tokenize", {"model": "m", "prompt": "a", "messages": [{"role": "user", "content": "b"}]}, "messages"),
        ("/tokenize", {"model": "m", "messages": []}, "messages"),
        ("/tokenize", {"model": "m", "prompt": "a", "add_generation_prompt": True}, "add_generation_prompt"),
        ("/tokenize", {"model": "m", "prompt": "a", "chat_template": "{{x}}"}, "chat_template"),
        ("/tokenize", {"model": "m", "prompt": "a", "tools": [{}]}, "tools"),
        ("/tokenize", {"model": "m", "prompt": "x" * (MAX_TOKENIZED_CHARS + 1)}, "prompt"),
        ("/tokenize", {"model": "m", "prompt": "a", "n_tokens": 1}, "n_tokens"),
        ("/tokenize", {"prompt": "a"}, "model"),
        ("/detokenize", {"model": "m", "tokens": [-1]}, "tokens[0]"),
        ("/detokenize", {"model": "m", "tokens": [2**32]}, "tokens[0]"),
        ("/detokenize", {"model": "m"}, "tokens"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(at: str, path: str, body: dict[str, object], param: str) -> None:
    status, said = ask(at, path, body)
    assert (status, said["error"]["param"]) == (400, param)


def test_what_changes_nothing_is_taken(at: str) -> None:
    body: dict[str, object] = {
        "model": "m",
        "prompt": "a",
        "chat_template": None,
        "tools": [],
        "continue_final_message": False,
    }
    assert ask(at, "/tokenize", body)[0] == 200


@pytest.mark.parametrize(("prompt", "status", "code"), [("fail", 503, "no_engine"), ("late", 504, "deadline_exceeded")])
def test_a_failure_has_its_status(at: str, prompt: str, status: int, code: str) -> None:
    found, said = ask(at, "/tokenize", {"model": "m", "prompt": prompt})
    assert (found, said["error"]["code"]) == (status, code)


def test_a_client_that_leaves_is_waited_for_no_longer() -> None:
    tokenizers = CountingTokenizers(hangs=True)
    with served(ScriptedInference(says("a")), tokenizers=tokenizers) as gateway:
        with raw_connection(gateway.url) as connection:
            connection.sendall(raw_post("/tokenize", json.dumps({"model": "m", "prompt": "a"}).encode()))
            assert tokenizers.was_asked.wait(WAIT_S)
        assert tokenizers.was_left.wait(WAIT_S)


def test_a_gateway_without_tokenizers_serves_no_such_route() -> None:
    with served(ScriptedInference(says("a"))) as gateway:
        assert post(gateway.url, "/tokenize", {"model": "m", "prompt": "a"}).status_code == 404
