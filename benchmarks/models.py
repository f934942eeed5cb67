"""`sage-benchmark stream --workload embed|generate`: model steps of a flow against the engine called directly.

The direct way runs the same engine, of the same settings, in this process: no plane, no stream, no other process.
Knows no engine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import sage
from benchmarks.direct import answer_all, embed_all
from benchmarks.document import Result
from benchmarks.measure import Prepare, Run, in_turns, median_ratio
from cluster.serving.engines.port import Engine
from sage.base.clock import Clock
from sage.base.errors import InternalError
from sage.flow.runner import Cluster

RUN_TIMEOUT_S = 300.0
TRIED_BATCHES = (8, 16, 32, 64)
NUM_TRIED_TEXTS = 128
NUM_AT_ONCE = 8
MAX_TOKENS = 64
LEAST_COSINE = 0.99
"""Vectors of one text may differ by the other texts of its batch: int8 activations are scaled a batch."""
MOST_TOKENS_OFF = 0.02
"""Greedy answers may differ, and end early, by the other sequences of a batch: sums come in another order."""


class ModelResult(Result, frozen=True, kw_only=True):
    """`n` texts or questions; `ratio_to_direct` is the median over rounds, 1 for the engine itself."""

    model: str
    data: str
    ratio_to_direct: float
    seconds_median: float
    seconds_min: float
    num_rounds: int
    num_at_once: int | None = None
    texts_per_s: float | None = None
    tokens_per_s: float | None = None
    batch_texts: int | None = None


@dataclass(frozen=True, slots=True)
class Bench:
    """What both measurements need: a cluster and the same engine beside it, told to take turns."""

    cluster: Cluster
    engine: Engine
    model: str
    data: str
    num_rounds: int
    clock: Clock


@dataclass(frozen=True, slots=True)
class TextVector:
    """A text with its vector, float32 [dim]."""

    text: str
    vector: Any  # NumPy is not imported for a name


@dataclass(frozen=True, slots=True)
class GeneratedTexts:
    """Answers in the order of their questions, and the tokens of all of them."""

    texts: Sequence[str]
    num_tokens: int


def measure_embed(bench: Bench, texts: Sequence[str]) -> list[ModelResult]:
    """Return the rate of an indexing stream, and of the engine at its best batch size among TRIED_BATCHES.

    Raises InternalError where a vector of the stream is not that of its text.
    """
    batch_texts = best_batch(bench, texts[:NUM_TRIED_TEXTS])
    expected = embed_all(bench.engine, bench.model, texts, batch_texts=batch_texts)

    def check(way: str, outcome: Any) -> None:
        if len(outcome) != len(texts) or float((outcome * expected).sum(axis=1).min()) < LEAST_COSINE:
            raise InternalError(f"vectors of {way} are not those of their texts", "Please report it.")

    ways: dict[str, Prepare] = {
        "direct": lambda: lambda: embed_all(bench.engine, bench.model, texts, batch_texts=batch_texts),
        "sage": lambda: _indexing(bench, texts),
    }
    seconds = in_turns(ways, num_rounds=bench.num_rounds, clock=bench.clock, check=check)
    return [
        _result(bench, "embed", way, seconds, n=len(texts), batch_texts=batch_texts if way == "direct" else None)
        for way in ways
    ]


def best_batch(bench: Bench, texts: Sequence[str]) -> int:
    """Return the batch size at which the engine embeds most texts a second."""
    ways: dict[str, Prepare] = {str(size): _embedding(bench, texts, size) for size in TRIED_BATCHES}
    seconds = in_turns(ways, num_rounds=2, clock=bench.clock, check=lambda way, outcome: None)
    return min(TRIED_BATCHES, key=lambda size: min(seconds[str(size)]))


def _embedding(bench: Bench, texts: Sequence[str], batch_texts: int) -> Prepare:
    return lambda: lambda: embed_all(bench.engine, bench.model, texts, batch_texts=batch_texts)


def _indexing(bench: Bench, texts: Sequence[str]) -> Run:
    """Return a run of the stream: texts are embedded and indexed, and the vectors kept to be checked."""
    import numpy as np

    flow = sage.Flow("benchmark-index")
    embedded = flow.from_collection(texts).embed(model=bench.model, into=TextVector)
    embedded.index_into(
        sage.Index("benchmark"), text=lambda entry: entry.text, vector=lambda entry: entry.vector, source=None
    )
    vectors = embedded.map(lambda entry: entry.vector).collect()

    def run() -> object:
        bench.cluster.submit(flow.graph()).wait(RUN_TIMEOUT_S)
        return np.stack(vectors.items)

    return run


def measure_generate(bench: Bench, prompts: Sequence[str]) -> list[ModelResult]:
    """Return the rate of tokens of a stream with NUM_AT_ONCE questions in flight, and of the engine with as many.

    Raises InternalError where an answer is missing, or where the number of tokens is not the engine's own.
    """
    expected = _asked(bench, prompts)
    ways: dict[str, Prepare] = {
        "direct": lambda: lambda: _asked(bench, prompts),
        "sage": lambda: _asking(bench, prompts),
    }

    def check(way: str, outcome: Any) -> None:
        generated: GeneratedTexts = outcome
        same_length = abs(generated.num_tokens - expected.num_tokens) <= MOST_TOKENS_OFF * expected.num_tokens
        if len(generated.texts) != len(prompts) or not all(generated.texts) or not same_length:
            raise InternalError(f"answers are missing on {way}", "Please report it.")

    seconds = in_turns(ways, num_rounds=bench.num_rounds, clock=bench.clock, check=check)
    return [
        _result(
            bench, "generate", way, seconds, n=len(prompts), num_at_once=NUM_AT_ONCE, num_tokens=expected.num_tokens
        )
        for way in ways
    ]


def _asked(bench: Bench, prompts: Sequence[str]) -> GeneratedTexts:
    answers = answer_all(bench.engine, bench.model, prompts, num_at_once=NUM_AT_ONCE, max_tokens=MAX_TOKENS)
    return GeneratedTexts([answer.text for answer in answers], sum(answer.num_tokens for answer in answers))


def _asking(bench: Bench, prompts: Sequence[str]) -> Run:
    flow = sage.Flow("benchmark-generate")
    answers = (
        flow.from_collection(prompts)
        .generate(model=bench.model, prompt="{}", max_tokens=MAX_TOKENS, max_in_flight=NUM_AT_ONCE)
        .collect()
    )

    def run() -> object:
        job = bench.cluster.submit(flow.graph())
        job.wait(RUN_TIMEOUT_S)
        return GeneratedTexts(answers.items, sum(chain.completion_tokens for chain in job.metrics().chains))

    return run


def _result(
    bench: Bench,
    workload: str,
    way: str,
    seconds: dict[str, list[float]],
    *,
    n: int,
    num_at_once: int | None = None,
    batch_texts: int | None = None,
    num_tokens: int | None = None,
) -> ModelResult:
    own_s = median(seconds[way])
    return ModelResult(
        engine=way,
        workload=workload,
        n=n,
        checked=True,
        simulated=bench.engine.info().simulated,
        model=bench.model,
        data=bench.data,
        ratio_to_direct=round(median_ratio(seconds["direct"], seconds[way]), 4),
        seconds_median=round(own_s, 6),
        seconds_min=round(min(seconds[way]), 6),
        num_rounds=bench.num_rounds,
        num_at_once=num_at_once,
        batch_texts=batch_texts,
        texts_per_s=None if num_tokens else round(n / own_s, 1),
        tokens_per_s=round(num_tokens / own_s, 1) if num_tokens else None,
    )
