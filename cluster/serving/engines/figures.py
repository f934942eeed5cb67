"""What an engine says of itself, and vLLM's words for it. Pure; asks nobody."""

import re

import msgspec

_NAMES = {
    "vllm:num_requests_running": "num_running",
    "vllm:num_requests_waiting": "num_waiting",
    "vllm:kv_cache_usage_perc": "kv_used",
    "vllm:prefix_cache_queries_total": "prefix_asked_tokens",
    "vllm:prefix_cache_hits_total": "prefix_hit_tokens",
    "vllm:inter_token_latency_seconds_sum": "decode_s",
    "vllm:inter_token_latency_seconds_count": "num_decoded",
    "vllm:num_preemptions_total": "num_preempted",
}
_CONFIG = "vllm:cache_config_info"
_BLOCKS = re.compile(r'[{,](block_size|num_gpu_blocks)="(\d+)"')


class EngineFigures(msgspec.Struct, frozen=True, tag="figures", forbid_unknown_fields=True):
    """What an engine works on and has room for, by its own count.

    `num_waiting`: requests that wait inside it. `kv_used`: share of its memory for keys and values, 0 to 1. The others
    only grow: prompt tokens that it looked for in its prefix cache and found there; seconds between tokens, and of how
    many tokens; requests that it stopped for want of memory, to work them off anew. `kv_tokens`: how many tokens that
    memory holds; 0: it does not say.
    """

    num_running: float = 0.0
    num_waiting: float = 0.0
    kv_used: float = 0.0
    prefix_asked_tokens: float = 0.0
    prefix_hit_tokens: float = 0.0
    decode_s: float = 0.0
    num_decoded: float = 0.0
    num_preempted: float = 0.0
    kv_tokens: float = 0.0

    @property
    def prefix_hit(self) -> float | None:
        """The share of prompt tokens that it had cached; None before any."""
        return self.prefix_hit_tokens / self.prefix_asked_tokens if self.prefix_asked_tokens else None


class KeptBlocks(msgspec.Struct, frozen=True, tag="kept", forbid_unknown_fields=True):
    """What changed of the blocks of prompts (`PromptPrefix.hashes`) that an engine keeps, by its own word.

    `is_first`: before it, none was kept. `is_over`: nothing more is told until the next first, and what is kept is not
    known any more.
    """

    stored: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    is_first: bool = False
    is_over: bool = False


Said = EngineFigures | KeptBlocks


def figures_of(text: str) -> EngineFigures | None:
    """Return what vLLM's `/metrics` say, summed over its engines; None where they are of something else.

    >>> figures_of('vllm:num_requests_running{engine="0"} 2.0\\nvllm:kv_cache_usage_perc{engine="0"} 0.5\\n').kv_used
    0.5
    """
    sums: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("vllm:"):
            name, _, rest = line.partition("{")
            field = _NAMES.get(name)
            if field is not None:
                sums[field] = sums.get(field, 0.0) + float(rest.rpartition(" ")[2])
            elif name == _CONFIG:  # an engine that does not know yet says "None"
                sizes = {key: int(size) for key, size in _BLOCKS.findall(line)}
                tokens = sizes.get("block_size", 0) * sizes.get("num_gpu_blocks", 0)
                sums["kv_tokens"] = sums.get("kv_tokens", 0.0) + tokens
    return EngineFigures(**sums) if sums else None
