"""The desk before the shell: what is known or asked already is not asked of an engine."""

from collections.abc import Iterator

import pytest

from cluster.serving.engines.link import HostLost
from cluster.serving.engines.port import EngineInfo, Run
from cluster.serving.text_desk import TextDesk
from sage.base.errors import EngineLost, InvalidRequest, RequestCancelled, UnknownModel
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Embedded, EmbedRequest, Reply, Request, ScoreRequest, ServiceClass, Usage
from tests.unit.serving.arrange import chat, chat_engine, embed_engine, lost
from tests.unit.serving.links import ScriptedLink
from tests.unit.serving.stage import Asker, Stage


def vectors(request: Request) -> list[Reply]:
    """Answer each text by two numbers that begin with its first letter."""
    assert isinstance(request, EmbedRequest)
    data = b"".join(text.encode()[:1].ljust(8, b"\0") for text in request.texts)
    tokens = (3,) * len(request.texts)
    return [Embedded(request.id, data, 2, Usage(3 * len(request.texts)), EngineId("e1"), tokens)]


def texts(id: str, *texts: str, timeout_s: float | None = None, model: str = "embed") -> EmbedRequest:
    return EmbedRequest(RequestId(id), model, texts, ServiceClass.STANDARD, timeout_s=timeout_s)


class DeskStage(Stage):
    def __init__(self) -> None:
        super().__init__()
        self.desk = TextDesk(self.shell, clock=self.clock, vector_cache_bytes=10_000)

    def engine(self, info: EngineInfo | None = None, *, answers: bool = True) -> ScriptedLink:
        link = ScriptedLink(info or embed_engine(), answering=vectors if answers else None)
        self.links.append(link)
        link.is_ready()
        self.shell.attach(link)
        return link

    def ask(self, *requests: Request) -> Asker:
        asker = Asker()
        self.desk.submit(requests, asker)
        self.plane.check()
        return asker


@pytest.fixture
def stage() -> Iterator[DeskStage]:
    stage = DeskStage()
    yield stage
    for link in stage.links:
        link.close(0.0)


def ran_texts(link: ScriptedLink) -> list[tuple[str, ...]]:
    ran = [request for message in link.sent if isinstance(message, Run) for request in message.requests]
    return [request.texts for request in ran if isinstance(request, EmbedRequest)]


def test_a_known_text_is_answered_without_an_engine_and_counted(stage: DeskStage) -> None:
    link = stage.engine()
    assert stage.ask(texts("a", "x", "y")).outcomes() == {"a": "finished"}
    asker = stage.ask(texts("b", "y"))
    assert asker.outcomes() == {"b": "finished"}
    assert ran_texts(link) == [("x", "y")]
    (answer,) = asker.calls[0]
    assert isinstance(answer, Embedded)
    assert answer.vectors == b"y".ljust(8, b"\0")
    assert answer.usage == Usage(prompt_tokens=3, cached_tokens=3)
    view = stage.desk.view()
    assert [(one.num_embedded, one.num_cached, one.num_shared) for one in view.texts] == [(2, 1, 0)]
    assert view.vector_cache_bytes > 0


def test_requests_handed_in_together_go_to_the_engine_together(stage: DeskStage) -> None:
    link = stage.engine()
    stage.ask(texts("a", "x"), texts("b", "y", "x"), texts("c", "z"))
    (message,) = (message for message in link.sent if isinstance(message, Run))
    assert [request.id for request in message.requests] == ["a", "b", "c"]
    assert ran_texts(link) == [("x",), ("y",), ("z",)]


def test_chat_goes_straight_on(stage: DeskStage) -> None:
    link = stage.link(chat_engine(), answers=True)
    assert stage.ask(chat("a")).outcomes() == {"a": "finished"}
    assert link.ran() == ["a"]


def test_what_no_engine_can_answer_is_refused_in_the_planes_words(stage: DeskStage) -> None:
    stage.engine()
    asker = stage.ask(texts("a"), texts("b", "x", model="nobody"), texts("c", *map(str, range(65))))
    outcomes = asker.outcomes()
    assert outcomes["b"] == UnknownModel.code
    assert "finished" not in outcomes.values()


def test_an_id_in_use_is_refused_to_whoever_used_it_again(stage: DeskStage) -> None:
    stage.engine(answers=False)
    first, second = stage.ask(texts("a", "x")), stage.ask(texts("a", "y"))
    assert (first.outcomes(), second.outcomes()) == ({}, {"a": InvalidRequest.code})


def test_a_cancelled_request_is_stopped_at_its_engine(stage: DeskStage) -> None:
    link = stage.engine(answers=False)
    asker = stage.ask(texts("a", "x"))
    stage.desk.cancel([RequestId("a"), RequestId("unknown")])
    assert asker.outcomes() == {"a": RequestCancelled.code}
    assert link.aborted() == ["a"]


def test_when_an_engine_is_lost_each_request_ends_and_its_vectors_are_forgotten(stage: DeskStage) -> None:
    link = stage.engine()
    stage.ask(texts("a", "x"))
    silent = stage.engine(embed_engine("e2"), answers=False)
    link_lost(stage, link)
    first, second = stage.ask(texts("b", "y")), stage.ask(texts("c", "y"))
    link_lost(stage, silent)
    assert first.outcomes() == {"b": EngineLost.code}
    assert set(second.outcomes()) == {"c"}
    stage.engine(embed_engine("e3"))
    fresh = stage.ask(texts("d", "x"))
    assert fresh.outcomes() == {"d": "finished"}
    assert stage.desk.view().texts[0].num_cached == 0


def test_a_model_that_embeds_scores_by_its_vectors_which_are_kept(stage: DeskStage) -> None:
    link = stage.engine()
    stage.ask(texts("a", "x"))
    asker = stage.ask(ScoreRequest(RequestId("s"), "embed", "x", ("y", "x")))
    assert asker.outcomes() == {"s": "finished"}
    assert ran_texts(link) == [("x",), ("y",)]
    (scored,) = asker.calls[0]
    assert isinstance(scored, Embedded)
    assert (scored.dim, len(scored.vectors)) == (1, 8)
    assert scored.usage == Usage(prompt_tokens=9, cached_tokens=6)


def test_what_nobody_scores_is_refused_in_the_planes_words(stage: DeskStage) -> None:
    stage.engine()
    none, many = ("x",), tuple(map(str, range(1025)))
    asker = stage.ask(
        ScoreRequest(RequestId("a"), "nobody", "q", none),
        ScoreRequest(RequestId("b"), "embed", "q", many),
        ScoreRequest(RequestId("c"), "embed", "q", ()),
    )
    assert [view.model for view in stage.desk.view().texts if view.model != "embed"] == [], (
        "a line a name would not end"
    )
    outcomes = asker.outcomes()
    assert outcomes["a"] == UnknownModel.code
    assert set(outcomes) == {"a", "b", "c"}
    assert "finished" not in outcomes.values()


def test_an_asker_that_raises_harms_no_other(stage: DeskStage) -> None:
    def bad(replies: object) -> None:
        raise RuntimeError("no")

    stage.engine()
    stage.desk.submit([texts("a", "x")], bad)
    assert stage.ask(texts("b", "y")).outcomes() == {"b": "finished"}


def link_lost(stage: DeskStage, link: ScriptedLink) -> None:

    link.say(HostLost(lost()))
    stage.come(link)
