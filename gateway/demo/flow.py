"""The demo as one flow of two streams: the reference is indexed, questions are answered from it.

Knows nothing of terminals, engines or where it runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sage
from gateway.demo.questions import Found, Question
from gateway.demo.topics import Chunk, chunks_of, more_specific, read_topics

NUM_PASSAGES = 3
MAX_ANSWER_TOKENS = 64
END_OF_ANSWER = "\n\n"
"""A small model ends a paragraph and begins to repeat itself: one paragraph is an answer."""
DOCS_MODEL = "python-docs"
CHUNK_STEP = "each once"
EMBED_STEP = "embed chunks"
INDEX_STEP = "index"
FOUND_STEP = "retrieve"


@dataclass(frozen=True, slots=True)
class ChunkVector:
    """A chunk with its vector, float32 [dim]."""

    chunk: Chunk
    vector: Any  # NumPy is not imported for a name


@dataclass(frozen=True, slots=True)
class QuestionVector:
    """A question with its vector, float32 [dim]."""

    question: Question
    vector: Any  # NumPy is not imported for a name


@dataclass(frozen=True, slots=True)
class Answered:
    """What was found, and what the model made of it."""

    found: Found
    answer: str


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who is told what happens, on the threads of tasks: tokens before the answer, passages at any time before it."""

    on_found: Callable[[Found], object]
    on_token: Callable[[Found, str], None]
    on_answered: Callable[[Answered], object]


def demo_flow(
    questions: Sequence[Question],
    listeners: Listeners,
    *,
    chat_model: str,
    embed_model: str,
    keep: Callable[[ChunkVector], object] | None = None,
) -> sage.Flow:
    """Return the flow. Questions are embedded at once, and wait for the whole index before they are looked up.

    `keep` is called with every chunk of the index.
    """
    flow = sage.Flow("demo")
    reference = sage.Index("python reference")
    chunks = _embedded(flow, embed_model)
    _index(chunks, reference)
    if keep is not None:
        chunks.for_each(keep).named("keep chunks")
    found = (
        flow.from_collection(questions)
        .named("questions")
        .embed(model=embed_model, text=lambda question: question.text, into=QuestionVector)
        .named("embed questions")
        .retrieve(reference, NUM_PASSAGES, vector=lambda asked: asked.vector, into=_found)
        .named(FOUND_STEP)
    )
    found.for_each(listeners.on_found).named("show passages")
    answers = found.generate(
        model=chat_model,
        prompt=prompt_of,
        max_tokens=MAX_ANSWER_TOKENS,
        stop=END_OF_ANSWER,
        on_token=listeners.on_token,
        into=Answered,
    )
    answers.for_each(listeners.on_answered).named("show sources")
    return flow


def docs_flow(chunks: Sequence[ChunkVector], *, chat_model: str, embed_model: str) -> sage.Flow:
    """Return the flow that answers questions from the reference as the model `python-docs`; its index is `chunks`."""
    flow = sage.Flow(DOCS_MODEL)
    reference = sage.Index("python reference")
    _index(flow.from_collection(chunks).named("reference"), reference)
    (
        flow.from_chat(DOCS_MODEL)
        .embed(model=embed_model, text="question", into="vector")
        .retrieve(reference, NUM_PASSAGES)
        .generate(
            model=chat_model,
            prompt=lambda turn: prompt_for(turn["question"], turn["passages"]),
            max_tokens=MAX_ANSWER_TOKENS,
            stop=END_OF_ANSWER,
        )
        .reply()
    )
    return flow


def prompt_of(found: Found) -> str:
    """Return what the model is asked about a question and what was found for it."""
    return prompt_for(found.question.text, found.passages)


def prompt_for(question: str, passages: Sequence[sage.Passage]) -> str:
    """Return what the model is asked: the passages, the best last and so nearest to the question, then the question."""
    texts = "\n\n".join(passage.text for passage in reversed(passages))
    return f"{texts}\n\nAnswer in one or two sentences: {question}"


def _embedded(flow: sage.Flow, embed_model: str) -> sage.Stream[ChunkVector]:
    """Begin the stream of chunks with their vectors; the reference holds many sections twice, each is embedded once."""
    chunks = (
        flow.from_collection(read_topics())
        .named("topics")
        .flat_map(chunks_of)
        .named("chunk")
        .key_by(lambda chunk: chunk.text)
        .reduce(more_specific, final=True)
        .named(CHUNK_STEP)
        .map(lambda entry: entry[1])
    )
    return chunks.embed(model=embed_model, text=lambda chunk: chunk.titled_text, into=ChunkVector).named(EMBED_STEP)


def _index(chunks: sage.Stream[ChunkVector], reference: sage.Index) -> None:
    """Add what fills the index."""
    chunks.index_into(
        reference,
        text=lambda entry: entry.chunk.text,
        vector=lambda entry: entry.vector,
        source=lambda entry: entry.chunk.source,
    ).named(INDEX_STEP)


def _found(asked: QuestionVector, passages: Sequence[sage.Passage]) -> Found:
    return Found(asked.question, tuple(passages))
