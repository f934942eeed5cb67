"""Which packages each kind of engine needs. Imports none of them."""

from cluster.serving.engines.spec import EngineKind

PACKAGES: dict[EngineKind, tuple[str, ...]] = {
    "openai": ("aiohttp",),
    "openvino": ("openvino", "openvino_genai", "tokenizers"),
    "simulated": (),
    "vllm": ("aiohttp",),
}
