"""Questions about tokenizers, past the queue of a plane."""

import asyncio
from collections.abc import Iterator

import pytest

from cluster.serving.engines.link import HostLost
from cluster.serving.engines.port import ToHost
from cluster.serving.engines.tokenizer_port import AskTokenizer, Told
from cluster.serving.loop import LoopPlane
from cluster.serving.plane import Plane
from sage.base.errors import DeadlineExceeded
from sage.base.ids import RequestId
from sage.base.inference import Failed
from sage.base.settings import TenantSettings
from sage.base.tokenizing import MAX_OPEN_QUESTIONS, Tokenized, TokenizerAnswer, TokenizeText
from tests.unit.serving.arrange import chat, chat_engine, embed_engine, lost
from tests.unit.serving.links import ScriptedLink
from tests.unit.serving.stage import Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    for link in stage.links:
        link.close(0.0)


def question(name: str, model: str = "chat", tenant: str = "default") -> TokenizeText:
    return TokenizeText(RequestId(name), model, "hello", tenant=tenant)


def ask(stage: Stage, *questions: TokenizeText) -> list[TokenizerAnswer]:
    """Ask and return the list in which the answers will be."""
    answers: list[TokenizerAnswer] = []
    for one in questions:
        stage.shell.questions.ask(one, answers.append)
    stage.plane.check()
    return answers


def asked(link: ScriptedLink) -> list[str]:
    return [message.question.id for message in link.sent if isinstance(message, AskTokenizer)]


def tokens(name: str) -> Told:
    return Told(Tokenized(RequestId(name), (1, 2), 2048))


def codes(answers: list[TokenizerAnswer]) -> list[str]:
    return [answer.failure.code if isinstance(answer, Failed) else "fine" for answer in answers]


def test_a_question_goes_past_what_waits_and_its_answer_to_whoever_asked(stage: Stage) -> None:
    link = stage.link(chat_engine(max_running=1))
    stage.ask(chat("a"), chat("b"))
    answers = ask(stage, question("q"))
    assert (link.ran(), asked(link), answers) == (["a"], ["q"], [])
    link.say(tokens("q"))
    stage.come(link)
    assert answers == [Tokenized(RequestId("q"), (1, 2), 2048)]
    assert len(stage.shell.questions) == 0


def test_questions_are_spread_over_the_engines_of_a_model(stage: Stage) -> None:
    links = [stage.link(chat_engine(name)) for name in ("c1", "c2")]
    other = stage.link(embed_engine())
    ask(stage, *(question(f"q{number}") for number in range(4)))
    assert [len(asked(link)) for link in (*links, other)] == [2, 2, 0]


def test_what_no_engine_has_is_told_from_what_none_has_yet(stage: Stage) -> None:
    stage.link(is_ready=False)
    assert codes(ask(stage, question("q"), question("p", model="nope"))) == ["SAGE-2202", "SAGE-1201"]


def test_an_engine_that_is_lost_answers_all_that_it_was_asked(stage: Stage) -> None:
    link, other = stage.link(chat_engine("c1")), stage.link(embed_engine())
    answers, others = ask(stage, question("q"), question("p")), ask(stage, question("e", model="embed"))
    link.say(tokens("q"))
    stage.come(link)
    link.say(HostLost(lost()))
    stage.come(link)
    assert codes(answers) == ["fine", "SAGE-2203"]
    assert others == []
    other.say(tokens("e"))
    stage.come(other)
    assert codes(others) == ["fine"]


def test_an_engine_that_takes_no_more_is_lost_with_the_question(stage: Stage) -> None:
    stage.link().takes_messages = False
    assert codes(ask(stage, question("q"))) == ["SAGE-2203"]


def test_no_more_are_open_at_once_than_may_be(stage: Stage) -> None:
    link = stage.link()
    ask(stage, *(question(f"q{number}", tenant=f"t{number}") for number in range(MAX_OPEN_QUESTIONS)))
    assert codes(ask(stage, question("one-more"))) == ["SAGE-2201"]
    stage.shell.questions.withdraw(RequestId("q0"))  # the engine works on it still
    assert codes(ask(stage, question("two-more"))) == ["SAGE-2201"]
    link.say(tokens("q0"))
    stage.come(link)
    assert codes(ask(stage, question("fits"))) == []
    assert len(stage.shell.questions) == MAX_OPEN_QUESTIONS


def test_no_tenant_keeps_others_out(stage: Stage) -> None:
    link = stage.link()
    for tenant, num_let_in in (("first", 32), ("second", 16), ("third", 8), ("fourth", 4), ("fifth", 2), ("sixth", 1)):
        refused = codes(ask(stage, *(question(f"{tenant}{number}", tenant=tenant) for number in range(64))))
        assert refused == ["SAGE-2201"] * (64 - num_let_in)
    link.say(tokens("first0"))
    stage.come(link)
    assert codes(ask(stage, question("again", tenant="first"))) == ["SAGE-2201"]
    assert codes(ask(stage, question("new", tenant="seventh"))) == []


def test_those_open_at_one_engine_take_no_place_at_another(stage: Stage) -> None:
    for engine in (chat_engine(), embed_engine()):
        stage.link(engine)
    ask(stage, *(question(f"q{number}", tenant=f"t{number}") for number in range(MAX_OPEN_QUESTIONS)))
    assert codes(ask(stage, question("one-more"), question("e", model="embed"))) == ["SAGE-2201"]


def test_a_question_that_was_given_up_is_answered_to_nobody_when_its_engine_is_lost(stage: Stage) -> None:
    link = stage.link()
    answers = ask(stage, question("q"))
    stage.shell.questions.withdraw(RequestId("q"))
    link.say(HostLost(lost()))
    stage.come(link)
    assert (answers, len(stage.shell.questions)) == ([], 0)


def test_a_closed_plane_answers_what_is_open_and_refuses_the_rest(stage: Stage) -> None:
    stage.link()
    answers = ask(stage, question("q"))
    stage.shell.close()
    assert codes(answers) == ["SAGE-2203"]
    assert codes(ask(stage, question("late"))) == ["SAGE-2202"]


def test_a_question_counts_as_one_request_of_its_tenant_and_no_tokens() -> None:
    terms = TenantSettings(name="small", requests_per_minute=2, tokens_per_minute=1)
    gate = Plane(("chat",), tenants=(terms,)).questions

    def refusal(tenant: str, now_s: float) -> str | None:
        error = gate.refusal(question("q", tenant=tenant), now_s, asking=())
        return None if error is None else error.code

    assert [refusal("small", 0.0) for _ in range(3)] == [None, None, "SAGE-2208"]
    assert refusal("other", 0.0) is None
    assert refusal("small", 30.0) is None


class TellingLink(ScriptedLink):
    """Answers every question but the one called silent."""

    def send(self, message: ToHost) -> bool:
        if isinstance(message, AskTokenizer) and message.question.id != "silent":
            self.say(tokens(message.question.id))
        return super().send(message)


def test_a_loop_waits_for_the_answer_as_long_as_it_is_told() -> None:
    async def main() -> tuple[TokenizerAnswer, int]:
        plane = LoopPlane(Plane(("chat",)), asyncio.get_running_loop())
        link = TellingLink(chat_engine())
        link.is_ready()
        plane.attach(link)
        answer = await plane.ask_tokenizer(question("q"), 20.0)
        with pytest.raises(DeadlineExceeded):
            await plane.ask_tokenizer(question("silent"), 0.01)
        num_open = len(plane._shell.questions)
        await plane.close()
        return answer, num_open

    assert asyncio.run(main()) == (Tokenized(RequestId("q"), (1, 2), 2048), 1)
