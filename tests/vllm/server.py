"""A real vLLM server on CPUs, from an environment of its own, for as long as a block lasts."""

import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.conftest import VLLM_PYTHON

START_S = 400.0
STOP_S = 20.0
_ASK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class VllmServer:
    url: str

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of a metric of vLLM's that have these labels."""
        lines = _get(f"{self.url}/metrics").splitlines()
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        found = [line for line in lines if line.startswith(f"{name}{{") and all(label in line for label in wanted)]
        assert found, f"vLLM shows no {name}"
        return sum(float(line.rsplit(" ", 1)[1]) for line in found)


@contextmanager
def vllm_server(model: Path, log: Path) -> Iterator[VllmServer]:
    """Serve the checkpoint `model` as `tiny`; every process of it is gone at the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [os.environ[VLLM_PYTHON], "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port), "--enforce-eager"]
    command += ["--disable-uvicorn-access-log"]
    environ = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    environ.pop("PYTHONPATH", None)
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environ, cwd=model, start_new_session=True)
    started: list[psutil.Process] = []
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_healthy(url, process, log)
        started = psutil.Process(process.pid).children(recursive=True)
        yield VllmServer(url)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(STOP_S)
        _, left = psutil.wait_procs(started, timeout=STOP_S)
        assert left == [], f"left running: {left}"


def _wait_until_healthy(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(int(START_S / _ASK_EVERY_S)):
        try:
            _get(f"{url}/health")
        except (urllib.error.URLError, ConnectionError):
            try:
                process.wait(_ASK_EVERY_S)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"vLLM ended: {log.read_text(errors='replace')[-3000:]}") from None
        return
    raise AssertionError(f"vLLM was not healthy within {START_S:g} s: {log.read_text(errors='replace')[-3000:]}")


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10.0) as answer:
        data: bytes = answer.read()
    return data.decode()
