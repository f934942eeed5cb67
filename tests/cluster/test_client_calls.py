"""Models asked from Python: of a cluster in this process, of two node processes, and of one reached by its address."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest

import sage
from cluster.client.nodes_here import nodes_here
from cluster.local import LocalCluster
from sage.base.errors import (
    DeadlineExceeded,
    InvalidRequest,
    QuotaExceeded,
    RequestCancelled,
    UnknownModel,
)
from sage.base.ids import EngineId
from sage.base.inference import Served
from sage.base.settings import EngineSettings, Settings, TenantSettings
from tests.cluster.cluster_command import user_at_home
from tests.cluster.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

DEADLINE_S = 30.0
LONG = 100_000
SETTINGS = Settings(
    engines=(EngineSettings(name="sim", kind="simulated", model="sim", target="h100"),),
    tenants=(TenantSettings(name="poor", requests_per_minute=1),),
)


@pytest.fixture(scope="module", params=["local", "local:2"])
def cluster(request: pytest.FixtureRequest) -> Iterator[sage.Cluster]:
    """A cluster with a simulated engine, which starts when it is first asked."""
    place = LocalCluster(settings=SETTINGS) if request.param == "local" else nodes_here(2, settings=SETTINGS)
    with place as cluster:
        assert cluster.engines() == []
        assert cluster.chat("Are you there?", model="sim", max_tokens=1).engine_id == "sim"
        yield cluster


def num_running(cluster: sage.Cluster) -> int:
    return sum(engine.num_running for engine in cluster.engines())


def is_working(cluster: sage.Cluster) -> bool:
    return num_running(cluster) == 1


def is_idle(cluster: sage.Cluster) -> bool:
    return num_running(cluster) == 0


def test_a_chat_is_answered_with_its_usage(cluster: sage.Cluster) -> None:
    answer = cluster.chat("Why is the sky blue?", model="sim", max_tokens=5, deadline_s=DEADLINE_S)
    assert answer.text
    assert (answer.reason, answer.usage.completion_tokens) == ("length", 5)
    assert answer.engine_id == "sim"
    assert answer.served == Served("hybrid", "auto", EngineId("sim"))
    assert answer == cluster.generate("Why is the sky blue?", model="sim", max_tokens=5)
    raw = cluster.generate("Why is the sky blue?", model="sim", raw=True, max_tokens=2)
    assert raw.usage.completion_tokens == 2
    assert [engine.engine_id for engine in cluster.engines() if engine.state == "ready"] == ["sim"]


def test_a_streamed_answer_is_the_same_in_pieces(cluster: sage.Cluster) -> None:
    whole = cluster.chat([{"role": "user", "content": "Hello"}], model="sim", max_tokens=5)
    stream = cluster.chat([{"role": "user", "content": "Hello"}], model="sim", max_tokens=5, stream=True)
    with pytest.raises(InvalidRequest):
        _ = stream.answer
    pieces = [token.text for token in stream]
    assert len(pieces) > 1
    assert "".join(pieces) == whole.text == stream.answer.text
    assert stream.answer.usage.completion_tokens == 5


def test_texts_are_embedded_in_order_however_many(cluster: sage.Cluster) -> None:
    texts = [f"text {number}" for number in range(150)]
    embeddings = cluster.embed(texts, model="sim")
    assert embeddings.vectors.shape[0] == 150
    assert np.allclose(np.linalg.norm(embeddings.vectors, axis=1), 1.0, atol=1e-5)
    assert np.array_equal(cluster.embed("text 97", model="sim").vectors[0], embeddings.vectors[97])


def test_a_stream_that_is_left_early_ends_at_the_engine(cluster: sage.Cluster) -> None:
    with cluster.chat("Go on", model="sim", max_tokens=LONG, stream=True) as stream:
        next(stream)
        assert is_working(cluster)
    eventually(lambda: is_idle(cluster), DEADLINE_S)
    with pytest.raises(RequestCancelled):
        next(stream)
    for _token in cluster.chat("Go on", model="sim", max_tokens=LONG, stream=True):
        break
    eventually(lambda: is_idle(cluster), DEADLINE_S)


def test_a_deadline_ends_the_answer(cluster: sage.Cluster) -> None:
    with pytest.raises(DeadlineExceeded):
        cluster.chat("Go on", model="sim", max_tokens=LONG, deadline_s=0.3)
    eventually(lambda: is_idle(cluster), DEADLINE_S)


def test_a_quota_is_told_by_type_with_the_time_to_wait(cluster: sage.Cluster) -> None:
    def ask() -> object:
        return cluster.chat("Hello", model="sim", max_tokens=1, tenant="poor", retries=0)

    ask()
    with pytest.raises(QuotaExceeded) as refused:
        ask()
    assert refused.value.retry_after_s is not None
    assert 0.0 < refused.value.retry_after_s <= 60.0
    assert cluster.chat("Hello", model="sim", max_tokens=1, tenant="rich").text


def test_a_model_that_nobody_serves_is_refused(cluster: sage.Cluster) -> None:
    with pytest.raises(UnknownModel, match="nobody"):
        cluster.chat("Hello", model="nobody")
    with pytest.raises(InvalidRequest):
        cluster.chat("Hello", model="sim", max_tokens=0)


async def test_coroutines_ask_side_by_side(cluster: sage.Cluster) -> None:
    models = cluster.aio
    answers = await asyncio.gather(*(models.chat(f"Hello {n}", model="sim", max_tokens=3) for n in range(8)))
    assert [answer.usage.completion_tokens for answer in answers] == [3] * 8
    stream = models.generate("Hello 3", model="sim", max_tokens=3, stream=True)
    assert "".join([token.text async for token in stream]) == answers[3].text == stream.answer.text
    assert (await models.embed(["a", "b"], model="sim")).vectors.shape[0] == 2
    assert [engine.engine_id for engine in await models.engines()] == ["sim"]


async def test_a_task_that_is_cancelled_ends_its_request_at_the_engine(cluster: sage.Cluster) -> None:
    began = asyncio.Event()

    async def read() -> None:
        async for _token in cluster.aio.chat("Go on", model="sim", max_tokens=LONG, stream=True):
            began.set()

    task = asyncio.create_task(read())
    async with asyncio.timeout(DEADLINE_S):
        await began.wait()
    assert is_working(cluster)
    task.cancel()
    assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)
    await asyncio.to_thread(eventually, lambda: is_idle(cluster), DEADLINE_S)


def test_several_threads_ask_at_once(cluster: sage.Cluster) -> None:
    texts: dict[int, str] = {}

    def ask(number: int) -> None:
        texts[number] = cluster.chat(f"Hello {number}", model="sim", max_tokens=4).text

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert texts == {number: cluster.chat(f"Hello {number}", model="sim", max_tokens=4).text for number in range(6)}


def test_flows_and_calls_share_one_plane(cluster: sage.Cluster) -> None:
    flow = sage.Flow("beside")
    answers = flow.from_collection(["Hello"]).generate(model="sim", prompt="{}", max_tokens=4).collect()
    cluster.submit(flow).wait(DEADLINE_S)
    assert answers.items == [cluster.generate("Hello", model="sim", max_tokens=4).text]


_CTRL_C = """
import sage, sys
with sage.connect(sys.argv[1]) as cluster:
    for token in cluster.chat("Go on", model="sim", max_tokens=100_000, stream=True):
        print("token", flush=True)
"""


def test_a_cluster_by_its_address_is_asked_and_ctrl_c_ends_the_request_there() -> None:
    with user_at_home() as user, ExitStack() as stack:
        user("start", "--nodes", "1", "--engine", "simulated:h100,model=sim", "--address", "tcp://127.0.0.1:0")
        try:
            address = user.json("status")["address"]
            asking = user.popen("-c", _CTRL_C, address)
            stack.callback(asking.kill)
            assert asking.stdout is not None
            assert asking.stdout.readline() == "token\n"
            [engine] = user.json("top")["engines"]
            assert engine["num_running"] == 1
            asking.send_signal(signal.SIGINT)
            asking.communicate(timeout=DEADLINE_S)
            assert asking.returncode != 0
            eventually(lambda: user.json("top")["engines"][0]["num_running"] == 0, DEADLINE_S)
        finally:
            user("stop")
            user.wait_gone()


def test_documents_are_ranked_by_the_cosines_of_their_vectors(cluster: sage.Cluster) -> None:
    documents = [f"document {number}" for number in range(70)]
    query, *vectors = cluster.embed(["why", *documents], model="sim").vectors
    expected = np.array(vectors) @ query
    ranking = cluster.rerank("why", documents, model="sim")
    assert sorted(ranked.index for ranked in ranking.results) == list(range(70))
    assert [ranked.text for ranked in ranking.results] == [documents[ranked.index] for ranked in ranking.results]
    np.testing.assert_allclose([ranked.score for ranked in ranking.results], np.sort(expected)[::-1], atol=1e-6)
    assert ranking.usage.cached_tokens == ranking.usage.prompt_tokens > 70  # all vectors were known
    best = asyncio.run(_best(cluster, documents))
    assert best == ranking.results[:3]


async def _best(cluster: sage.Cluster, documents: list[str]) -> tuple[object, ...]:
    return (await cluster.aio.rerank("why", documents, model="sim", k=3)).results


def test_what_cannot_be_ranked_is_refused_by_name(cluster: sage.Cluster) -> None:
    bad: list[tuple[str, object, object, object]] = [
        ("query", "", ["a"], None),
        ("documents", "q", [], None),
        ("documents", "q", "one text", None),
        ("documents", "q", {"a": 1}, None),
        ("documents", "q", {"a", "b"}, None),
        ("documents[1]", "q", ["a", 7], None),
        ("k", "q", ["a"], 0),
        ("k", "q", ["a"], True),
    ]
    for param, query, documents, k in bad:
        with pytest.raises(InvalidRequest) as caught:
            cluster.rerank(query, documents, model="sim", k=k)  # type: ignore[arg-type]  # what a checker would refuse
        assert caught.value.param == param
