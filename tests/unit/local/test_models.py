"""Models asked from Python: what both shells, for threads and for coroutines, ask of the plane."""

from collections.abc import Sequence

import pytest

from cluster.local.async_models import CoroutineModels
from cluster.local.models import AskedCluster, Asker
from sage.base.clock import ManualClock
from sage.base.errors import InvalidRequest, RequestCancelled
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Finished, Kind, ModelCard, ReplyTo, Request, Token, Usage

START_S = 4.0


class Answering:
    """An Inference that answers each request by its one word, and keeps it."""

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        self.asked += requests
        for request in requests:
            reply_to([Token(request.id, "Hi"), Finished(request.id, "stop", Usage(1, 1), EngineId("e"))])

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        raise AssertionError(f"nothing of this is out: {request_ids}")

    def models(self) -> tuple[ModelCard, ...]:
        return ()


class Asked(AskedCluster):
    """A cluster whose engines take START_S to be begun."""

    def __init__(self) -> None:
        self.inference = Answering()
        self.clock = ManualClock()
        self.served: list[str] = []
        self._asker = Asker(self.inference, self._serve, list, self.clock)

    def _serve(self, model: str, _kind: Kind) -> None:
        self.served.append(model)
        self.clock.advance(START_S)


@pytest.fixture
def cluster() -> Asked:
    return Asked()


def timeout_s(cluster: Asked) -> float | None:
    [request] = cluster.inference.asked
    return request.timeout_s


def test_the_deadline_of_a_thread_counts_from_the_call_with_the_start_of_the_engine(cluster: Asked) -> None:
    assert cluster.chat("Hello", model="sim", deadline_s=10.0).text == "Hi"
    assert timeout_s(cluster) == pytest.approx(10.0 - START_S)


async def test_the_deadline_of_a_coroutine_counts_from_the_call_too(cluster: Asked) -> None:
    assert (await CoroutineModels(cluster._asker).chat("Hello", model="sim", deadline_s=10.0)).text == "Hi"
    assert timeout_s(cluster) == pytest.approx(10.0 - START_S)


@pytest.mark.parametrize("ask", ["chat", "generate"])
def test_a_stream_is_asked_for_or_not(cluster: Asked, ask: str) -> None:
    for models in (cluster, cluster.aio):
        with pytest.raises(InvalidRequest, match="stream='no' is refused: it is True or False") as raised:
            getattr(models, ask)("Hello", model="sim", stream="no")
        assert raised.value.param == "stream"


async def test_a_stream_that_is_closed_before_it_began_starts_nothing(cluster: Asked) -> None:
    stream = cluster.aio.chat("Hello", model="sim", stream=True)
    await stream.aclose()
    with pytest.raises(RequestCancelled):
        await anext(aiter(stream))
    assert (cluster.served, cluster.inference.asked) == ([], [])


def test_a_model_is_prepared_once(cluster: Asked) -> None:
    assert cluster.generate("Hello", model="sim") == cluster.generate("Hello", model="sim")
    assert cluster.served == ["sim"]
