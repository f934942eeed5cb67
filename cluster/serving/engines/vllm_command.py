"""How a vLLM server is started: its command and what differs in its environment. Pure; starts nothing."""

import json
from collections.abc import Mapping
from pathlib import Path

from cluster.serving.engines.adapter_options import AdapterOptions
from cluster.serving.engines.spec import EngineSpec
from cluster.serving.environment_recipes import SERVER_MODULE
from sage.base.inference import TEXT_KINDS

KEY_ENV = "VLLM_API_KEY"
_GIB = 1 << 30
_CPU_KV_BYTES = 4 * _GIB
_OURS = ("PYTHONPATH", "PYTHONHOME", "PYTHONUNBUFFERED")


def vllm_command(
    spec: EngineSpec,
    python: Path,
    port: int,
    *,
    has_gpu: bool,
    kv_addresses: tuple[str, str] | None = None,
    adapter_rank: int = 0,
) -> list[str]:
    """Return the command of a server of `spec` that listens on `port` of this machine alone.

    One that generates publishes at the first of `kv_addresses` what it keeps of prompts, and at the second again.
    `adapter_rank`: the highest of its adapters', where it has any.
    """
    command = [str(python), "-P", "-m", SERVER_MODULE, "--model", spec.target]
    command += ["--served-model-name", spec.model, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--max-num-seqs", str(spec.server.max_running), "--disable-uvicorn-access-log"]
    if not set(spec.kinds).isdisjoint(TEXT_KINDS):
        command += ["--runner", "pooling"]
    else:
        command += ["--enable-prompt-tokens-details"]  # how much of a prompt was cached: routes learn by it
        if kv_addresses is not None:
            endpoint, again = kv_addresses
            events = {"enable_kv_cache_events": True, "endpoint": endpoint, "replay_endpoint": again}
            command += ["--kv-events-config", json.dumps(events)]
    if spec.adapters.folders:
        command += _of_adapters(spec.adapters, adapter_rank)
    if spec.server.context_tokens:
        command += ["--max-model-len", str(spec.server.context_tokens)]
    if not has_gpu:
        command += ["--enforce-eager"]  # to compile for CPUs takes minutes
    elif spec.process.kv_cache_bytes:
        command += ["--kv-cache-memory-bytes", str(spec.process.kv_cache_bytes)]
    if spec.demand.gpus >= 2:
        command += ["--tensor-parallel-size", str(int(spec.demand.gpus))]
    return command


def _of_adapters(adapters: AdapterOptions, rank: int) -> list[str]:
    num_kept = max(adapters.slots, len(adapters.folders))  # else one that left its slot is read anew
    words = ["--enable-lora", "--max-loras", str(adapters.slots), "--max-lora-rank", str(rank)]
    words += ["--max-cpu-loras", str(num_kept), "--lora-modules"]  # as JSON: NAME=PATH takes no "=" or ","
    return words + [json.dumps({"name": name, "path": str(Path(at).expanduser())}) for name, at in adapters.folders]


def vllm_environ(spec: EngineSpec, ours: Mapping[str, str], key: str, *, has_gpu: bool) -> dict[str, str]:
    """Return the environment of the server: ours without what is about our own Python, and `key` for its clients."""
    environ = {name: value for name, value in ours.items() if name not in _OURS}
    environ |= {KEY_ENV: key, "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if Path(spec.target).is_absolute():
        environ["HF_HUB_OFFLINE"] = "1"
    if not has_gpu:
        kv_bytes = spec.process.kv_cache_bytes or _CPU_KV_BYTES
        environ["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, kv_bytes // _GIB))
    return environ
