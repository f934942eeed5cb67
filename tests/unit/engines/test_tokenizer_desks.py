"""What engines answer about their tokenizers."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.serving.engines.cost import CPU2
from cluster.serving.engines.encoder_tokens import MAX_CHARS, EncoderTokens
from cluster.serving.engines.port import Engine
from cluster.serving.engines.simulated import SimulatedEngine
from cluster.serving.engines.tokenizer_desk import OwnDesk
from sage.base.clock import ManualClock
from sage.base.ids import EngineId, RequestId
from sage.base.inference import ChatMessage, Failed, Kind, ModelCard
from sage.base.tokenizing import (
    MAX_OPEN_QUESTIONS,
    Detokenize,
    Detokenized,
    TokenizeChat,
    Tokenized,
    TokenizerAnswer,
    TokenizerQuestion,
    TokenizeText,
)
from tests.contract.cross_encoder import WORDS, tiny_tokenizer
from tests.unit.engines.scripted_server import HANG, ScriptedServer, http, scripted_server
from tests.unit.engines.test_openai import MODELS, engine_at, next_replies

ID = RequestId("q")
CARD = ModelCard("rank", (Kind.SCORE,), 4)


@pytest.fixture
def desk(tmp_path: Path) -> OwnDesk:
    tokenizer = tiny_tokenizer()
    tokenizer.enable_truncation(CARD.context_tokens)  # as files of encoders have it
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return OwnDesk(CARD, EncoderTokens(CARD, tmp_path / "tokenizer.json"))


def answer(desk: OwnDesk, question: TokenizerQuestion) -> TokenizerAnswer:
    desk.ask(question)
    [answer] = desk.answers()
    assert desk.answers() == []
    return answer


def failure(answer: TokenizerAnswer) -> tuple[str, str, str | None]:
    assert isinstance(answer, Failed), answer
    return answer.failure.code, answer.failure.what, answer.failure.param


def test_a_text_is_told_whole_though_the_model_sees_less_of_it(desk: OwnDesk) -> None:
    told = answer(desk, TokenizeText(ID, "rank", "the sea is wide", with_strings=True))
    strings = ("[CLS]", "the", "sea", "is", "wide", "[SEP]")
    assert told == Tokenized(ID, tuple(map(WORDS.index, strings)), 4, strings)


def test_special_tokens_are_left_away_where_that_is_asked(desk: OwnDesk) -> None:
    told = answer(desk, TokenizeText(ID, "rank", "the sea", add_special_tokens=False))
    assert told == Tokenized(ID, (WORDS.index("the"), WORDS.index("sea")), 4)


def test_tokens_become_their_text_special_ones_included(desk: OwnDesk) -> None:
    assert answer(desk, Detokenize(ID, "rank", (1, WORDS.index("sea"), 2))) == Detokenized(ID, "[CLS] sea [SEP]")


@pytest.mark.parametrize(
    ("question", "code", "says", "param"),
    [
        (Detokenize(ID, "rank", (1, len(WORDS))), "SAGE-1203", r"no token 16 \(tokens\[1\]\)", "tokens"),
        (TokenizeText(ID, "other", "x"), "SAGE-1201", "no model 'other'", "model"),
        (TokenizeText(ID, "rank", "\ud800"), "SAGE-1203", "no valid Unicode", "prompt"),
        (TokenizeText(ID, "rank", "x" * (MAX_CHARS + 1)), "SAGE-1203", "131,073 characters", "prompt"),
        (TokenizeChat(ID, "rank", (ChatMessage("user", "hi"),)), "SAGE-1203", "no chat template", "messages"),
        (TokenizeChat(ID, "rank", (ChatMessage("user", "\udfff"),)), "SAGE-1203", "no valid Unicode", "messages"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    desk: OwnDesk, question: TokenizerQuestion, code: str, says: str, param: str
) -> None:
    said = failure(answer(desk, question))
    assert (said[0], said[2]) == (code, param)
    assert re.search(says, said[1])


def test_a_tokenizer_that_fails_fails_its_question_alone(tmp_path: Path) -> None:
    desk = OwnDesk(CARD, EncoderTokens(CARD, tmp_path / "missing.json"))
    assert failure(answer(desk, TokenizeText(ID, "rank", "x")))[0] == "SAGE-2207"


def test_a_simulated_engine_says_that_it_has_none() -> None:
    desk = SimulatedEngine(EngineId("e"), "sim", CPU2, ManualClock()).tokenizer
    desk.ask(TokenizeText(ID, "sim", "x"))
    [refusal] = desk.answers()
    assert failure(refusal) == ("SAGE-1203", "model 'sim' is simulated and has no tokenizer", "model")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as script:
        script.answers["/v1/models"] = [MODELS]
        yield script


def told_by(engine: Engine, question: TokenizerQuestion) -> TokenizerAnswer:
    engine.tokenizer.ask(question)
    answers = engine.tokenizer.answers()
    while not answers:
        assert next_replies(engine) == []
        answers = engine.tokenizer.answers()
    [answer] = answers
    return answer


def test_a_server_is_asked_as_vllm_is(server: ScriptedServer) -> None:
    server.answers["/tokenize"] = [http(b'{"count":2,"max_model_len":9,"tokens":[5,6],"token_strs":["a","b"]}')]
    server.answers["/detokenize"] = [http(b'{"prompt":"ab"}')]
    chat = TokenizeChat(ID, "m", (ChatMessage("user", "hi"),), add_generation_prompt=False)
    with engine_at(server) as engine:
        assert told_by(engine, TokenizeText(ID, "m", "ab", with_strings=True)) == Tokenized(ID, (5, 6), 100, ("a", "b"))
        assert told_by(engine, chat) == Tokenized(ID, (5, 6), 100)
        assert told_by(engine, Detokenize(ID, "m", (5, 6))) == Detokenized(ID, "ab")
    assert [json.loads(heard.partition(b"\r\n\r\n")[2]) for heard in server.heard[-3:]] == [
        {"model": "m", "prompt": "ab", "add_special_tokens": True, "return_token_strs": True},
        {
            "model": "m",
            "messages": [{"role": "user", "content": "hi"}],
            "add_generation_prompt": False,
            "add_special_tokens": False,
        },
        {"model": "m", "tokens": [5, 6]},
    ]


@pytest.mark.parametrize(
    ("said", "code", "says"),
    [
        (http(b'{"detail":"Not Found"}', status=404), "SAGE-1203", "the server of 'm' has no /tokenize"),
        (http(b"<html>", status=405), "SAGE-1203", "the server of 'm' has no /tokenize"),
        (http(b'{"error":{"message":"busy"}}', status=503), "SAGE-2201", "busy"),
        (http(b'{"tokens":["5"]}'), "SAGE-2207", "what are no tokens"),
        (http(b'{"tokens":[-1]}'), "SAGE-2207", "what are no tokens"),
        (http(b'{"tokens":[5],"token_strs":["a","b"]}'), "SAGE-2207", "for what each token stands"),
        (http(b'{"tokens":[5]}'), "SAGE-2207", "for what each token stands"),
        (http(b"no json"), "SAGE-2207", "what are no tokens"),
    ],
)
def test_what_a_server_refuses_or_breaks_is_said(server: ScriptedServer, said: bytes, code: str, says: str) -> None:
    server.answers["/tokenize"] = [said]
    with engine_at(server) as engine:
        found = failure(told_by(engine, TokenizeText(ID, "m", "ab", with_strings=True)))
    assert found[0] == code
    assert says in found[1]


def test_a_server_that_hangs_is_asked_so_many_times_at_once_and_no_more(server: ScriptedServer) -> None:
    server.answers["/tokenize"] = [HANG]
    with engine_at(server) as engine:
        for number in range(MAX_OPEN_QUESTIONS + 1):
            engine.tokenizer.ask(TokenizeText(RequestId(f"q{number}"), "m", "ab"))
        [refusal] = engine.tokenizer.answers()
    assert (refusal.request_id, failure(refusal)[0]) == (f"q{MAX_OPEN_QUESTIONS}", "SAGE-2201")


def test_questions_are_worked_on_one_at_a_time(desk: OwnDesk) -> None:
    for name in ("a", "b"):
        desk.ask(TokenizeText(RequestId(name), CARD.name, "hello"))
    told = []
    while desk.has_questions():
        told.append([answer.request_id for answer in desk.answers()])
    assert told == [["a"], ["b"]]
    assert desk.answers() == []
