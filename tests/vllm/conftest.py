"""What the tests against vLLM share: one checkpoint, and one server of each role. Knows no test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vllm.checkpoint import make_checkpoint
from tests.vllm.server import VllmServer, vllm_servers


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("vllm") / "tiny")


@pytest.fixture(scope="module")
def servers(checkpoint: Path) -> Iterator[tuple[VllmServer, VllmServer]]:
    """One that answers and one that embeds; they start side by side, for that takes one core each."""
    with vllm_servers(checkpoint, "", ",role=embedding") as (chat, pooling):
        yield chat, pooling


@pytest.fixture(scope="module")
def server(servers: tuple[VllmServer, VllmServer]) -> VllmServer:
    return servers[0]


@pytest.fixture(scope="module")
def pooling(servers: tuple[VllmServer, VllmServer]) -> VllmServer:
    return servers[1]
