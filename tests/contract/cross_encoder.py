"""A cross-encoder as small as one can be, with the files and inputs of a real one. Knows no engine and no test."""

import json
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as ops
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

_SAID = "why snakes parrots eat talk because they can the sea is wide"
WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *_SAID.split()]


def tiny_cross_encoder(folder: Path) -> Path:
    """Write a model into `folder` that counts the query's words in the text: its number is 2 * common - 1."""
    ov.save_model(_model(), folder / "openvino_model.xml", compress_to_fp16=False)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 64}))
    return folder


def tiny_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    return tokenizer


def _model() -> ov.Model:
    """One-hot words of both parts, told apart by `token_type_ids`, and how many they have in common."""
    names = ("input_ids", "attention_mask", "token_type_ids")
    ids, mask, types = (ops.parameter([-1, -1], np.int64, name=name) for name in names)
    for parameter, name in zip((ids, mask, types), names, strict=True):
        parameter.output(0).set_names({name})
    is_word = ops.convert(ops.greater(ids, np.int64(3)), np.float32)
    one_hot = ops.one_hot(ids, np.int64(len(WORDS)), np.float32(1), np.float32(0), 2)
    second = ops.convert(types, np.float32)
    real = ops.multiply(ops.convert(mask, np.float32), is_word)
    bags = [
        ops.reduce_max(ops.multiply(one_hot, ops.unsqueeze(ops.multiply(real, part), np.int64(2))), np.int64(1))
        for part in (ops.subtract(np.float32(1), second), second)
    ]
    common = ops.reduce_sum(ops.multiply(bags[0], bags[1]), np.int64(1), keep_dims=True)
    logits = ops.subtract(ops.multiply(common, np.float32(2)), np.float32(1))
    return ov.Model([logits], [ids, mask, types], "tiny")
