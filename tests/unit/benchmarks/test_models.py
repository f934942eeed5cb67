"""Model workloads on a simulated engine: what is asked directly and through a flow is the same."""

from collections.abc import Iterator

import pytest

from benchmarks.direct import answer_all, embed_all
from benchmarks.models import TRIED_BATCHES, Bench, best_batch, measure_embed, measure_generate
from benchmarks.session import questions_of, texts_of
from benchmarks.texts import zipf_corpus
from cluster.local import LocalCluster
from cluster.serving.engines.build import engine_from_spec
from cluster.serving.engines.port import Engine
from cluster.serving.engines.spec import spec_from_text
from sage.base.clock import SystemClock
from sage.base.errors import UnknownModel
from sage.base.ids import EngineId

SPEC = spec_from_text("simulated:h100,model=sim")
CORPUS = zipf_corpus(4000, seed=1)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = engine_from_spec(SPEC, EngineId("direct"))
    yield engine
    engine.close()


@pytest.fixture
def bench(engine: Engine) -> Iterator[Bench]:
    with LocalCluster(engines=[SPEC]) as cluster:
        yield Bench(cluster, engine, "sim", CORPUS.name, 1, SystemClock())


def test_an_engine_asked_directly_gives_a_vector_a_text_in_order(engine: Engine) -> None:
    one_by_one = embed_all(engine, "sim", ["a", "b", "c"], batch_texts=1)
    together = embed_all(engine, "sim", ["a", "b", "c"], batch_texts=64)
    assert one_by_one.shape[0] == 3
    assert (one_by_one == together).all()


def test_an_engine_asked_directly_answers_every_prompt_in_order(engine: Engine) -> None:
    answers = answer_all(engine, "sim", ["one", "two", "three"], num_at_once=2, max_tokens=4)
    assert len(answers) == 3
    assert all(answer.text and 0 < answer.num_tokens <= 4 for answer in answers)


def test_what_a_direct_request_fails_with_is_raised(engine: Engine) -> None:
    with pytest.raises(UnknownModel):
        embed_all(engine, "other", ["a"], batch_texts=1)


def test_an_indexing_stream_is_measured_against_the_engine_and_called_simulated(bench: Bench) -> None:
    direct, through = measure_embed(bench, texts_of(CORPUS, 10))
    assert (direct.engine, direct.ratio_to_direct, direct.batch_texts in TRIED_BATCHES) == ("direct", 1.0, True)
    assert (through.engine, through.workload, through.n) == ("sage", "embed", 10)
    assert through.simulated
    assert through.texts_per_s is not None
    assert through.tokens_per_s is None


def test_generation_through_a_stream_is_measured_in_tokens(bench: Bench) -> None:
    direct, through = measure_generate(bench, questions_of(CORPUS, 4))
    assert direct.tokens_per_s is not None
    assert through.tokens_per_s is not None
    assert (through.num_at_once, through.n) == (8, 4)


def test_the_best_batch_is_one_of_those_tried(bench: Bench) -> None:
    assert best_batch(bench, texts_of(CORPUS, 8)) in TRIED_BATCHES
