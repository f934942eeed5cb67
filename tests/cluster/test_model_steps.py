"""Steps that ask models, over a simulated engine in a host process of its own: normal end, cancel, loss of the host."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import sage
from cluster.local import LocalCluster
from cluster.serving.engines.spec import spec_from_text
from sage.base.errors import JobCancelled, SageError
from sage.base.settings import Settings
from sage.flow.runner import JobStatus

pytestmark = pytest.mark.cluster

DEADLINE_S = 60.0
NUM_TEXTS = 300


@pytest.fixture
def model_cluster() -> Iterator[LocalCluster]:
    """A cluster with one simulated engine, which serves the model `sim` for everything."""
    with LocalCluster(settings=Settings(), engines=[spec_from_text("simulated:h100,model=sim")]) as cluster:
        yield cluster


def test_embeddings_and_answers_come_for_every_record_in_order(model_cluster: LocalCluster) -> None:
    flow = sage.Flow("models")
    records: list[dict[str, Any]] = [{"text": f"text {n}", "n": n} for n in range(NUM_TEXTS)]
    texts = flow.from_collection(records)
    vectors = texts.embed(model="sim", text="text", into="vector").collect()
    answers = texts.generate(model="sim", prompt="{text}", max_tokens=3, into="answer").collect()
    job = model_cluster.submit(flow)
    result = job.wait(DEADLINE_S)
    assert [record["n"] for record in vectors.items] == list(range(NUM_TEXTS))
    assert [record["n"] for record in answers.items] == list(range(NUM_TEXTS))
    assert {len(record["vector"]) for record in vectors.items} == {len(vectors.items[0]["vector"])}
    assert result.records_out == 2 * NUM_TEXTS
    assert sum(chain.completion_tokens for chain in job.metrics().chains) > 0


def test_an_index_filled_by_embeddings_answers_the_questions_of_the_same_flow(model_cluster: LocalCluster) -> None:
    flow, index = sage.Flow("rag"), sage.Index("docs")
    texts = [f"text number {n}" for n in range(50)]
    documents = flow.from_collection([{"text": text} for text in texts])
    documents.embed(model="sim", text="text", into="vector").index_into(index, source=None)
    asked: list[dict[str, Any]] = [{"text": text} for text in texts]
    questions = flow.from_collection(asked)
    found = questions.embed(model="sim", text="text", into="vector").retrieve(index, k=1).collect()
    model_cluster.submit(flow).wait(DEADLINE_S)
    assert [record["passages"][0].text for record in found.items] == texts


def test_what_was_retrieved_is_ranked_anew_and_kept_in_a_cache(model_cluster: LocalCluster, tmp_path: Path) -> None:
    texts = [f"text number {n}" for n in range(50)]
    flow, index = sage.Flow("ranked"), sage.Index("docs")
    documents = flow.from_collection([{"text": text} for text in texts])
    documents.embed(model="sim", text="text", into="vector").index_into(index, source="text")
    asked: list[dict[str, Any]] = [{"question": text} for text in texts[:20]]
    found = flow.from_collection(asked).embed(model="sim", text="question", into="vector").retrieve(index, k=40)
    ranked = found.rerank(model="sim", k=4, cache=tmp_path).collect()
    first = model_cluster.submit(flow).wait(DEADLINE_S)
    before = ranked.items
    assert [record["passages"][0].source for record in before] == texts[:20]  # nearest to itself
    assert all(
        [passage.score for passage in record["passages"]]
        == sorted((passage.score for passage in record["passages"]), reverse=True)
        and len(record["passages"]) == 4
        for record in before
    )
    second = model_cluster.submit(flow).wait(DEADLINE_S)
    assert (first.num_cached, second.num_cached) == (0, 20 * 40)
    assert [record["passages"][0].source for record in ranked.items] == texts[:20]


def test_tokens_are_told_as_they_come(model_cluster: LocalCluster) -> None:
    told: list[str] = []
    flow = sage.Flow("tokens")
    out = flow.from_collection(["hello"]).generate(
        model="sim", prompt="{}", max_tokens=5, on_token=lambda record, text: told.append(text)
    )
    answers = out.collect()
    model_cluster.submit(flow).wait(DEADLINE_S)
    assert "".join(told) == answers.items[0]


def test_cancel_withdraws_what_is_in_flight(model_cluster: LocalCluster) -> None:
    started = threading.Event()
    flow = sage.Flow("long")
    flow.from_collection([f"text {n}" for n in range(20)]).generate(
        model="sim", prompt="{}", max_tokens=100_000, on_token=lambda record, text: started.set()
    ).collect()
    job = model_cluster.submit(flow)
    assert started.wait(DEADLINE_S)
    job.cancel()
    assert job.status is JobStatus.CANCELLED
    with pytest.raises(JobCancelled):
        job.wait(DEADLINE_S)


def hosts() -> list[psutil.Process]:
    """Return the engine hosts that this process has started and that live; it may have other children."""
    children = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in children if "cluster.serving.engines.host" in child.cmdline()]


def test_the_loss_of_the_engine_fails_the_job_with_a_typed_error_and_the_next_job_waits_for_it(
    model_cluster: LocalCluster,
) -> None:
    started = threading.Event()
    flow = sage.Flow("lost")
    flow.from_collection(["text"]).generate(
        model="sim", prompt="{}", max_tokens=100_000, on_token=lambda record, text: started.set()
    ).collect()
    job = model_cluster.submit(flow)
    assert started.wait(DEADLINE_S)
    (host,) = hosts()
    os.kill(host.pid, signal.SIGKILL)
    with pytest.raises(SageError, match=r"EngineLost"):
        job.wait(DEADLINE_S)
    again = sage.Flow("again")
    out = again.from_collection(["text"]).generate(model="sim", prompt="{}", max_tokens=2).collect()
    model_cluster.submit(again).wait(DEADLINE_S)
    assert len(out.items) == 1
    assert [engine.state for engine in model_cluster.engines()] == ["ready"]
    (other,) = hosts()
    assert other.pid != host.pid


def test_a_new_policy_is_obeyed_at_once_and_an_unknown_one_is_refused(model_cluster: LocalCluster) -> None:
    model_cluster.set_policy("fifo")
    with pytest.raises(sage.SageError, match="SAGE-1202"):
        model_cluster.set_policy("fifi")
