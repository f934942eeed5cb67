"""What this machine and this installation have, as values. Knows nothing of what is to be done about it."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import msgspec
import psutil

from cluster.serving.engines.spec import EngineKind
from cluster.serving.model_store import ModelStore, StoredModel
from sage.base.errors import PackageShadowed
from sage.base.packages import check_packages

_REPORTED = ("sage-engine", "msgspec", "numpy", "pykka", "pyzmq", "fastapi", "uvicorn", "openvino-genai", "tokenizers")
_ENGINE_NEEDS: dict[EngineKind, tuple[str, ...]] = {
    "openvino": ("openvino", "openvino_genai", "tokenizers"),
    "simulated": (),
}


class EngineFact(msgspec.Struct, frozen=True):
    """An engine kind; `missing` are modules it needs that are not installed."""

    kind: str
    missing: tuple[str, ...]
    simulated: bool


class GpuFact(msgspec.Struct, frozen=True):
    name: str
    memory_bytes: int


class Facts(msgspec.Struct, frozen=True):
    """`gpus` None: not looked for, as NVML's bindings are not installed. `shadowed`: what hides a package of ours."""

    python: str
    platform: str
    packages: dict[str, str | None]
    shadowed: str | None
    num_cpus: int
    memory_bytes: int
    free_memory_bytes: int
    gpus: tuple[GpuFact, ...] | None
    engines: tuple[EngineFact, ...]
    models: tuple[StoredModel, ...]
    cache_dir: str


def gather(store: ModelStore) -> Facts:
    """Look at everything once; starts no engine and uses no network."""
    memory = psutil.virtual_memory()
    return Facts(
        python=f"{platform.python_implementation()} {platform.python_version()} at {sys.executable}",
        platform=platform.platform(),
        packages={name: _version_of(name) for name in _REPORTED},
        shadowed=_shadowed(),
        num_cpus=usable_cpus(),
        memory_bytes=memory.total,
        free_memory_bytes=memory.available,
        gpus=_gpus(),
        engines=tuple(_engine(kind, needs) for kind, needs in _ENGINE_NEEDS.items()),
        models=store.list(),
        cache_dir=str(store.cache_dir),
    )


def usable_cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(psutil.Process().cpu_affinity() or ()) if psutil.LINUX else psutil.cpu_count() or 1


def _engine(kind: str, needs: tuple[str, ...]) -> EngineFact:
    return EngineFact(kind, tuple(name for name in needs if find_spec(name) is None), kind == "simulated")


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


def _gpus() -> tuple[GpuFact, ...] | None:
    if find_spec("pynvml") is None:
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return tuple(
            GpuFact(str(pynvml.nvmlDeviceGetName(h)), int(pynvml.nvmlDeviceGetMemoryInfo(h).total)) for h in handles
        )
    finally:
        pynvml.nvmlShutdown()
