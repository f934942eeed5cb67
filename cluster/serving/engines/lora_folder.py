"""What the folders of LoRA adapters say, as `peft` writes them. Reads files; starts nothing."""

from pathlib import Path

import msgspec

from cluster.serving.engines.spec import EngineSpec
from sage.base.errors import EngineStartFailed

_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Those that vLLM takes as the highest (`vllm/config/lora.py`, 0.32)."""


class _AdapterConfig(msgspec.Struct):
    r: int


def highest_rank(spec: EngineSpec) -> int:
    """Return the least rank that vLLM takes and none of the adapters of `spec` exceeds; 0 where there are none.

    Raises: EngineStartFailed where a folder holds no adapter, or one of a higher rank than vLLM takes.
    """
    most = max((_rank(name, Path(at).expanduser(), spec) for name, at in spec.adapters.folders), default=0)
    return next(rank for rank in (0, *_RANKS) if rank >= most)


def _rank(name: str, folder: Path, spec: EngineSpec) -> int:
    where = f"engine {spec.name!r}: adapter {name!r}"
    try:
        rank = msgspec.json.decode((folder / "adapter_config.json").read_bytes(), type=_AdapterConfig).r
    except OSError as error:
        what = f"{where}: {folder} is no folder of an adapter: it has no adapter_config.json"
        raise EngineStartFailed(what, "Name a folder as peft writes it.") from error
    except msgspec.DecodeError as error:
        raise EngineStartFailed(f"{where}: adapter_config.json says no rank: {error}") from error
    if not 1 <= rank <= _RANKS[-1]:
        raise EngineStartFailed(f"{where} is of rank {rank}", f"vLLM takes ranks up to {_RANKS[-1]}.")
    return rank
