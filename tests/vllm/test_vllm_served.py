"""Real vLLM on CPUs as users have it: behind `sage-gateway serve`, and on a node of a cluster."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cluster.client.reach import reach_address
from tests.cluster.cluster_command import ClusterCommand, user_at_home
from tests.cluster.waiting import eventually
from tests.http.clients import openai_client
from tests.http.command import Command, serve
from tests.vllm import asking_flow
from tests.vllm.server import START_S, engine_text

pytestmark = [pytest.mark.vllm, pytest.mark.alone, pytest.mark.timeout(900)]

_ENGINES = """
import sys
from cluster.commands.engines import engines
from sage.cli import run_command
sys.exit(run_command(engines, "sage engines", sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def gateway(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    directory = tmp_path_factory.mktemp("gateway")
    with serve("--engine", engine_text(checkpoint, "name=v"), directory=directory, start_s=START_S) as running:
        yield running


@pytest.fixture(scope="module")
def cluster(checkpoint: Path) -> Iterator[ClusterCommand]:
    """A cluster of one node, on which the engine runs; at the end nothing of it is left, neither process nor file."""
    with user_at_home() as command:
        command("start", "--nodes", "1")
        started = command.python("-c", _ENGINES, "start", engine_text(checkpoint, "name=v,cpus=0.5"))
        assert started.returncode == 0, started.stderr
        with reach_address(command.json("status")["address"]) as reached:
            eventually(lambda: [each.state for each in reached.engines()] == ["ready"], START_S, reached.engines)
        yield command
        command("stop")
        command.wait_gone()


def test_a_gateway_streams_what_its_vllm_says_and_counts_it(gateway: Command) -> None:
    assert gateway.line.startswith("Serving tiny at ")
    with openai_client(gateway.url) as client:
        chunks = list(
            client.chat.completions.create(
                model="tiny",
                messages=[{"role": "user", "content": "hello"}],
                max_tokens=24,
                seed=3,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
        whole = client.completions.create(model="tiny", prompt="Once upon a time", max_tokens=5)
    usage = chunks[-1].usage
    assert usage is not None
    assert 1 <= usage.completion_tokens <= 24
    assert sum(bool(chunk.choices and chunk.choices[0].delta.content) for chunk in chunks) > 2
    assert whole.usage is not None
    assert whole.usage.completion_tokens <= 5
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=body, timeout=30.0)
    assert (answer.status_code, answer.headers["x-sage-engine"]) == (200, "v")


def test_it_is_shown_that_what_its_vllm_has_cached_is_known_exactly(gateway: Command) -> None:
    def metrics() -> str:
        return httpx.get(f"{gateway.url}/metrics", timeout=30.0).text

    eventually(lambda: 'sage_engine_cache_exact{engine="v"} 1.0' in metrics(), 30.0, metrics)


def test_a_flow_asks_the_vllm_of_a_node(cluster: ClusterCommand) -> None:
    with reach_address(cluster.json("status")["address"]) as reached:
        (node,) = reached.nodes()
        (engine,) = reached.engines()
        assert (engine.kind, engine.node, engine.device, engine.simulated) == ("vllm", node.node_id, "CPU", False)
        eventually(lambda: reached.engines()[0].cache_belief == "exact", 30.0, reached.engines)
        result = reached.submit(asking_flow.flow).wait(60.0)
        assert (result.status, result.records_in) == ("finished", asking_flow.NUM_QUESTIONS)
        answer = reached.generate(model="tiny", prompt="Once upon a time", max_tokens=4)
        assert 1 <= answer.usage.completion_tokens <= 4
