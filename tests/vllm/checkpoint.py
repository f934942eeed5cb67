"""A language model of random weights, small enough to be made by each test run: the real file formats, no sense.

A Llama of two layers with a byte-level tokenizer that is trained here on a few sentences; nothing is downloaded.
"""

import argparse
import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

HIDDEN = 64
_LEN_HEAD = 32  # the smallest that vLLM takes on CPUs
CONTEXT_TOKENS = 16_384  # so that an answer up to its end takes long enough to be cancelled on a busy machine
_VOCABULARY = 512
_BEGIN, _END = "<|begin|>", "<|end|>"
_SENTENCES = [
    "The sea was calm and the ship went slowly on.",
    "In the beginning there was a word, and many followed it.",
    "A request becomes tokens, and tokens become an answer.",
]
_TEMPLATE = (
    "{{ '<|begin|>' }}{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Size:
    """How large the model is; a multiple of 64 is `hidden`."""

    hidden: int = HIDDEN
    layers: int = 2

    @property
    def heads(self) -> int:
        return self.hidden // _LEN_HEAD

    @property
    def inner(self) -> int:
        return self.hidden * 5 // 2

    @property
    def side(self) -> int:
        """Of keys and of values: two heads share them."""
        return self.hidden // 2


def make_checkpoint(folder: Path, size: Size | None = None, *, seed: int = 1, is_readable: bool = False) -> Path:
    """Write a checkpoint as transformers keeps it into `folder`, and return it; the same bytes for the same seed.

    `is_readable`: each token that it writes is text at once. Else half of them, being drawn, are bytes that make no
    character with what follows, and a server holds the text back that a real model would have written by then.
    """
    size = size or Size()
    folder.mkdir(parents=True, exist_ok=True)
    num_tokens = _write_tokenizer(folder, is_readable=is_readable)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": size.hidden,
        "intermediate_size": size.inner,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.heads // 2,
        "head_dim": _LEN_HEAD,
        "max_position_embeddings": CONTEXT_TOKENS,
        "vocab_size": num_tokens,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "torch_dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    write_weights(folder / "model.safetensors", _shapes(num_tokens, size), seed)
    return folder


def _write_tokenizer(folder: Path, *, is_readable: bool) -> int:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = _signs() if is_readable else decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=[_BEGIN, _END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_SENTENCES, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    told = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": _BEGIN,
        "eos_token": _END,
        "model_max_length": CONTEXT_TOKENS,
        "chat_template": _TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(told), encoding="utf-8")
    return int(tokenizer.get_vocab_size())


def _signs() -> decoders.Decoder:
    """Return what shows each byte of a token as the sign that stands for it in the vocabulary, blanks as they are."""
    return decoders.Sequence([decoders.Replace("\u0120", " "), decoders.Fuse()])


def write_weights(path: Path, shapes: dict[str, list[int]], seed: int) -> None:
    """Write a safetensors file: the length of its header, the header as JSON, the numbers one after another."""
    rng = np.random.default_rng(seed)
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    parts: list[bytes] = []
    at = 0
    for name, shape in shapes.items():
        one = len(shape) == 1
        data = (np.ones(shape) if one else rng.normal(0, 0.08, shape)).astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(data)]}
        parts.append(data)
        at += len(data)
    head = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + b"".join(parts))


def _shapes(num_tokens: int, size: Size) -> dict[str, list[int]]:
    hidden, inner, side = size.hidden, size.inner, size.side
    shapes = {"model.embed_tokens.weight": [num_tokens, hidden], "model.norm.weight": [hidden]}
    for layer in range(size.layers):
        at = f"model.layers.{layer}"
        shapes |= {
            f"{at}.self_attn.q_proj.weight": [hidden, hidden],
            f"{at}.self_attn.k_proj.weight": [side, hidden],
            f"{at}.self_attn.v_proj.weight": [side, hidden],
            f"{at}.self_attn.o_proj.weight": [hidden, hidden],
            f"{at}.mlp.gate_proj.weight": [inner, hidden],
            f"{at}.mlp.up_proj.weight": [inner, hidden],
            f"{at}.mlp.down_proj.weight": [hidden, inner],
            f"{at}.input_layernorm.weight": [hidden],
            f"{at}.post_attention_layernorm.weight": [hidden],
        }
    return {**shapes, "lm_head.weight": [num_tokens, hidden]}


def main() -> None:
    """Make one in a folder, for `sage-benchmark live` and for trying things by hand."""
    parser = argparse.ArgumentParser(prog="python -m tests.vllm.checkpoint", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hidden", type=int, default=HIDDEN, help="a multiple of 64")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument(
        "--readable", action="store_true", help="each token is text at once, as a real model's mostly is"
    )
    arguments = parser.parse_args()
    size = Size(arguments.hidden, arguments.layers)
    print(make_checkpoint(arguments.folder, size, is_readable=arguments.readable))


if __name__ == "__main__":
    main()
