"""Cross-encoders in folders: how they are cut into stages, and what is no folder of one."""

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from cluster.serving.engines.cross_encoder import found_in
from sage.base.errors import EngineStartFailed
from tests.contract.cross_encoder import WORDS, tiny_cross_encoder

PAIRS = [[1, 4, 5, 2, 4, 2], [1, 4, 2, 6, 2]]
_DIM = 4


def save_layers(folder: Path, num_layers: int) -> None:
    """Write into `folder` a model of so many layers, each of which adds to what the one before gives."""
    rng = np.random.default_rng(7)
    names = ("input_ids", "attention_mask", "token_type_ids")
    ids, mask, types = (ops.parameter([-1, -1], np.int64, name=name) for name in names)
    for parameter, name in zip((ids, mask, types), names, strict=True):
        parameter.output(0).set_names({name})
    seen = ops.multiply(ops.convert(mask, np.float32), ops.add(ops.convert(types, np.float32), np.float32(1)))
    table = ops.constant(rng.standard_normal((len(WORDS), _DIM)).astype(np.float32))
    hidden = ops.multiply(ops.gather(table, ids, np.int64(0)), ops.unsqueeze(seen, np.int64(2)))
    for _ in range(num_layers):
        weights = ops.constant(rng.standard_normal((_DIM, _DIM)).astype(np.float32))
        hidden = ops.add(hidden, ops.tanh(ops.matmul(hidden, weights, False, False)))
    numbers = ops.reduce_sum(ops.reduce_sum(hidden, np.int64(2)), np.int64(1), keep_dims=True)
    logits = ops.multiply(numbers, np.float32(0.1))
    model = ov.Model([logits], [ids, mask, types], "layers")
    ov.save_model(model, folder / "openvino_model.xml", compress_to_fp16=False)


def test_it_rests_between_its_layers_and_scores_as_without(tmp_path: Path) -> None:
    folder = tiny_cross_encoder(tmp_path)
    save_layers(folder, 3)
    encoder = found_in(folder, "rank").encoder(1, 128)
    rests: list[None] = []
    whole = encoder.vectors(PAIRS).copy()
    staged = encoder.vectors(PAIRS, lambda: rests.append(None))
    assert staged == pytest.approx(whole, abs=1e-5)
    assert len(rests) >= 2


def test_a_folder_without_a_model_is_refused_by_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(EngineStartFailed, match=r"has no openvino_model\.xml"):
        found_in(tmp_path, "rank")
