"""A real vLLM server on CPUs as an engine of ours starts it, and a look at what it says of itself."""

import os
import shlex
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from cluster.serving.engines.launch import ChildLink, launch
from cluster.serving.engines.spec import spec_from_text
from cluster.serving.engines.vllm_command import KEY_ENV
from tests.contract.driven import Hosted
from tests.vllm.environment import NAME, VLLM_PYTHON, vllm_environments

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

    def num_inside(self) -> float:
        """Return how many requests it works on, or will."""
        return self.metric("vllm:num_requests_running") + self.metric("vllm:num_requests_waiting")


@contextmanager
def vllm_servers(model: Path, *options: str, python: str = "") -> Iterator[list[VllmServer]]:
    """Serve the checkpoint `model` once with each of `options`, side by side; nothing of it runs after the block."""
    specs = [spec_from_text(engine_text(model, f"model=tiny{more}", python=python)) for more in options]
    links: list[ChildLink] = []
    started: list[psutil.Process] = []
    try:
        links += [launch(spec, environment={"CUDA_VISIBLE_DEVICES": ""}) for spec in specs]
        hosted = [Hosted(link, deadline_s=START_S) for link in links]
        started = [each for link in links for each in psutil.Process(link.pid).children(recursive=True)]
        yield [VllmServer(engine, *_address(link)) for engine, link in zip(hosted, links, strict=True)]
    finally:
        for link in links:
            link.close(10.0)
    _, left = psutil.wait_procs(started, timeout=GONE_S)
    assert left == [], f"left running: {left}"


def engine_text(model: Path, more: str = "", *, python: str = "") -> str:
    """Return the engine as a command line names it: small, in the environment that there is, or by `python`."""
    python = python or vllm_python()
    sizes = f"max_running=32,kv_cache_bytes={1 << 30},start_timeout_s={START_S:g}"
    return f"vllm:{model},python={python},{sizes}" + (f",{more}" if more else "")


def vllm_python() -> str:
    """Return the Python that has vLLM; the environment is installed where there is none."""
    if (python := os.environ.get(VLLM_PYTHON)) is not None:
        return python
    vllm_environments().install(NAME, print)
    return str(vllm_environments().python(NAME))


def python_with(folder: Path, *arguments: str) -> str:
    """Return what stands for that Python and gives the server `arguments` that engines of ours have no word for."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(vllm_python())} "$@" {shlex.join(arguments)}\n')
    path.chmod(0o700)
    return str(path)


def _address(link: ChildLink) -> tuple[str, str]:
    keeper = psutil.Process(link.pid).children()[0]
    command = keeper.cmdline()
    port = command[command.index("--port") + 1]
    return f"http://127.0.0.1:{port}", keeper.environ()[KEY_ENV]


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10.0) as answer:
        data: bytes = answer.read()
    return data.decode()
