"""What this machine and this installation have, as values. Knows nothing of what is to be done about it."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import msgspec
import psutil

from cluster.jobs.machine import offer_of_machine
from cluster.jobs.nvml import has_driver
from cluster.serving.engines.needs import PACKAGES
from cluster.serving.environment_store import EnvironmentStore
from cluster.serving.model_store import ModelStore, StoredModel
from sage.base.errors import PackageShadowed
from sage.base.offer import Gpu
from sage.base.packages import check_packages

_REPORTED = ("sage-engine", "msgspec", "numpy", "pykka", "pyzmq", "fastapi", "uvicorn", "openvino-genai", "tokenizers")


class EngineFact(msgspec.Struct, frozen=True):
    """An engine kind; `missing` are modules it needs that are not installed.

    `has_environment`: whether one is installed, for those that run in one of their own; None for others.
    """

    kind: str
    missing: tuple[str, ...]
    simulated: bool
    has_environment: bool | None = None

    def state(self) -> str:
        """Say in words whether it can start."""
        lacks = [*self.missing, *(["an environment"] if self.has_environment is False else [])]
        return f"needs {', '.join(lacks)}" if lacks else "can start"


class Facts(msgspec.Struct, frozen=True):
    """What a node here would offer, and what is installed. `shadowed`: what hides a package of ours.

    `gpus` None: there is a driver, but NVML's bindings are not installed.
    """

    python: str
    platform: str
    packages: dict[str, str | None]
    shadowed: str | None
    num_cpus: float
    memory_bytes: int
    free_memory_bytes: int
    gpus: tuple[Gpu, ...] | None
    engines: tuple[EngineFact, ...]
    models: tuple[StoredModel, ...]
    cache_dir: str


def gather(store: ModelStore, environments: EnvironmentStore) -> Facts:
    """Look at everything once; starts no engine and uses no network."""
    offer = offer_of_machine()
    return Facts(
        python=f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}",
        platform=platform.platform(),
        packages={name: _version_of(name) for name in _REPORTED},
        shadowed=_shadowed(),
        num_cpus=offer.cpus,
        memory_bytes=offer.memory_bytes,
        free_memory_bytes=psutil.virtual_memory().available,
        gpus=None if has_driver() and find_spec("pynvml") is None else offer.gpus,
        engines=engine_facts(environments),
        models=store.list(),
        cache_dir=str(store.cache_dir),
    )


def engine_facts(environments: EnvironmentStore) -> tuple[EngineFact, ...]:
    """Return every kind of engine, with what it lacks here."""
    has_one = any(found.is_usable for found in environments.list())
    return tuple(_engine(kind, needs, has_one if kind == "vllm" else None) for kind, needs in PACKAGES.items())


def _engine(kind: str, needs: tuple[str, ...], has_environment: bool | None) -> EngineFact:
    missing = tuple(name for name in needs if find_spec(name) is None)
    return EngineFact(kind, missing, kind == "simulated", has_environment)


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _shadowed() -> str | None:
    try:
        check_packages()
    except PackageShadowed as error:
        return error.what
    return None
