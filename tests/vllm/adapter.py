"""A LoRA adapter of random weights for the checkpoint beside this, as `peft` writes one. Nothing is downloaded."""

import json
from pathlib import Path

from tests.vllm.checkpoint import Size, write_weights

RANK = 8
_PROJECTIONS = ("q_proj", "v_proj")


def make_adapter(folder: Path, *, seed: int, rank: int = RANK, size: Size | None = None) -> Path:
    """Write an adapter into `folder`, and return it; of another seed the model answers otherwise."""
    size = size or Size()
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 8 * rank,  # strong, so that random weights are seen in each answer
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(_PROJECTIONS),
        "base_model_name_or_path": "tiny",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    shapes: dict[str, list[int]] = {}
    for layer in range(size.layers):
        for name, side in zip(_PROJECTIONS, (size.hidden, size.side), strict=True):
            at = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            shapes |= {f"{at}.lora_A.weight": [rank, size.hidden], f"{at}.lora_B.weight": [side, rank]}
    write_weights(folder / "adapter_model.safetensors", shapes, seed)
    return folder
