"""The demo's flow, as a plan: nothing runs here."""

from gateway.demo.flow import CHUNK_STEP, EMBED_STEP, FOUND_STEP, INDEX_STEP, Listeners, demo_flow, prompt_of
from gateway.demo.questions import Found, Question, built_in_questions
from sage.base.inference import ServiceClass
from sage.flow.graph import Graph
from sage.flow.index import Passage
from sage.flow.plan import Routing, plan_from_graph
from sage.flow.spec import Embed


def nobody(*_: object) -> None:
    """Listens to nothing."""


def graph() -> Graph:
    listeners = Listeners(nobody, nobody, nobody)
    return demo_flow(built_in_questions(), listeners, chat_model="chat", embed_model="embed").graph()


def test_questions_wait_for_the_whole_index() -> None:
    plan = plan_from_graph(graph())
    waits = [channel for channel in plan.channels if channel.routing is Routing.COMPLETION]
    chain_of = {step.name: chain.id for chain in plan.chains for step in chain.steps}
    assert [(channel.source, channel.target) for channel in waits] == [(chain_of[INDEX_STEP], chain_of[FOUND_STEP])]


def test_chunks_are_embedded_as_batch_work_and_questions_before_them() -> None:
    classes = {step.name: step.spec.priority for step in graph().steps if isinstance(step.spec, Embed)}
    assert classes == {EMBED_STEP: ServiceClass.BATCH, "embed questions": ServiceClass.STANDARD}


def test_progress_finds_the_steps_that_it_counts() -> None:
    assert {CHUNK_STEP, EMBED_STEP, INDEX_STEP} <= {step.name for step in graph().steps}


def test_the_prompt_ends_with_the_best_passage_and_the_question() -> None:
    found = Found(Question(1, "Why?"), (Passage("Best.", 0.9, "a: b"), Passage("Good.", 0.8, "c: d")))
    assert prompt_of(found) == "Good.\n\nBest.\n\nAnswer in one or two sentences: Why?"
