"""Real vLLM on CPUs as users have it: behind `sage-gateway serve`, and on a node of a cluster."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from cluster.client.reach import reach_address
from tests.cluster.cluster_command import ClusterCommand, user_at_home
from tests.cluster.waiting import eventually
from tests.http.clients import openai_client
from tests.http.command import Command, serve
from tests.vllm import asking_flow
from tests.vllm.adapter import make_adapter
from tests.vllm.checkpoint import make_checkpoint
from tests.vllm.server import START_S, engine_text

pytestmark = [pytest.mark.vllm, pytest.mark.alone, pytest.mark.timeout(900)]

ADAPTERS = {"sql": 2, "law": 3}  # seeds

_ENGINES = """
import sys
from cluster.commands.engines import engines
from sage.cli import run_command
sys.exit(run_command(engines, "sage engines", sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """Of a model whose tokens are all text. One slot for two adapters: each is loaded anew when the other was asked for
    before."""
    directory = tmp_path_factory.mktemp("gateway")
    checkpoint = make_checkpoint(directory / "tiny", is_readable=True)
    adapters = [f"adapter={name}={make_adapter(directory / name, seed=seed)}" for name, seed in ADAPTERS.items()]
    engine = engine_text(checkpoint, ",".join(["model=tiny", "name=v", "adapter_slots=1", *adapters]))
    with serve("--engine", engine, directory=directory, start_s=START_S) as running:
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


def test_each_adapter_answers_as_it_does_and_not_as_the_model_or_another(gateway: Command) -> None:
    prompt = "The sea was calm and the ship went slowly on. " * 12
    asked = ["tiny", "sql", "law", "sql", "tiny", "law"]
    with openai_client(gateway.url) as client:
        shown = {model.id: model.model_extra for model in client.models.list()}
        answers = [client.completions.create(model=name, prompt=prompt, max_tokens=12, temperature=0) for name in asked]
        with pytest.raises(openai.NotFoundError, match="Did you mean 'sql'"):
            client.completions.create(model="sqll", prompt=prompt, max_tokens=1)
    assert {name: (each["root"], each["parent"]) for name, each in shown.items() if each is not None} == {
        "tiny": ("tiny", None),
        "sql": ("tiny", "tiny"),
        "law": ("tiny", "tiny"),
    }
    texts: dict[str, set[str]] = {name: set() for name in asked}
    for name, answer in zip(asked, answers, strict=True):
        texts[name].add(answer.choices[0].text)
    assert [len(said) for said in texts.values()] == [1, 1, 1], "each answers alike when it is asked again"
    assert len(set.union(*texts.values())) == 3, "and otherwise than the others"
    cached = [
        0 if answer.usage is None or (told := answer.usage.prompt_tokens_details) is None else told.cached_tokens or 0
        for answer in answers
    ]
    assert [bool(num) for num in cached] == [False, False, False, True, True, True], "what one keeps is no other's"


def test_a_gateway_streams_what_its_vllm_says_and_counts_it(gateway: Command) -> None:
    assert gateway.line.startswith("Serving tiny, sql, law at ")
    with openai_client(gateway.url) as client:
        chunks = list(
            client.chat.completions.create(
                model="tiny",
                messages=[{"role": "user", "content": "hello"}],
                max_tokens=96,  # vLLM says together what whoever reads was too slow for
                seed=3,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
        whole = client.completions.create(model="tiny", prompt="Once upon a time", max_tokens=5)
    usage = chunks[-1].usage
    assert usage is not None
    assert 1 <= usage.completion_tokens <= 96
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
