"""Cross-encoders in folders: how they are cut into stages, and what is no folder of one."""

import json
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from cluster.serving.engines.build import cross_encoder_engine
from cluster.serving.engines.cross_encoder import found_in
from cluster.serving.engines.spec import spec_from_text
from sage.base.errors import EngineStartFailed
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Embedded, ScoreRequest
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


def joined_by(folder: Path, pair: str) -> Path:
    """Have the tokenizer in `folder` join pairs so."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokens = [("[CLS]", 1), ("[SEP]", 2)]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", pair=pair, special_tokens=tokens)
    tokenizer.add_special_tokens(["[CLS]", "[SEP]"])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def score(folder: Path, query: str, text: str) -> float:
    engine = cross_encoder_engine(spec_from_text(f"openvino:{folder},model=rank"), EngineId("e"))
    engine.add([ScoreRequest(RequestId("r"), "rank", query, (text,))])
    replies = [reply for _ in range(2) for reply in engine.step()]
    engine.close()
    [reply] = replies
    assert isinstance(reply, Embedded), reply
    [number] = np.frombuffer(reply.vectors, "<f4")
    return float(number)


@pytest.mark.parametrize(
    "said",
    [
        {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity", "version": "5.0"}},
        {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"},
    ],
)
def test_scores_are_the_models_numbers_where_its_maker_says_so(tmp_path: Path, said: dict[str, object]) -> None:
    folder = tiny_cross_encoder(tmp_path)
    assert score(folder, "why eat", "snakes eat why") == pytest.approx(1 / (1 + np.exp(-3.0)), abs=1e-3)
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 64, **said}))
    assert score(folder, "why eat", "snakes eat why") == pytest.approx(3.0, abs=1e-3)


def test_an_activation_that_is_not_known_is_refused_by_name(tmp_path: Path) -> None:
    folder = tiny_cross_encoder(tmp_path)
    said = {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Tanh"}}
    (folder / "config.json").write_text(json.dumps(said))
    with pytest.raises(EngineStartFailed, match=r"modules\.activation\.Tanh, and known are Sigmoid and Identity"):
        found_in(folder, "rank")


@pytest.mark.parametrize("config", ["no json", "[]", '{"max_position_embeddings": "many"}'])
def test_a_configuration_that_is_none_is_refused(tmp_path: Path, config: str) -> None:
    folder = tiny_cross_encoder(tmp_path)
    (folder / "config.json").write_text(config)
    with pytest.raises(EngineStartFailed, match="is no configuration of a model"):
        found_in(folder, "rank")


@pytest.mark.parametrize(
    "pair", ["[CLS] $A [SEP] $B:1 [SEP]:1", "[CLS] $A [SEP] [SEP] $B:1 [SEP]:1", "[CLS] $A [SEP] [SEP]:1 $B:1 [SEP]:1"]
)
def test_parts_of_a_pair_are_told_apart_where_the_tokenizer_does(tmp_path: Path, pair: str) -> None:
    folder = joined_by(tiny_cross_encoder(tmp_path), pair)
    assert score(folder, "why eat", "eat eat snakes") == pytest.approx(1 / (1 + np.exp(-1.0)), abs=1e-3)


def test_a_text_does_not_end_where_it_says_a_separator(tmp_path: Path) -> None:
    folder = joined_by(tiny_cross_encoder(tmp_path), "[CLS] $A [SEP] $B:1 [SEP]:1")
    assert score(folder, "why [SEP] why", "snakes") == pytest.approx(1 / (1 + np.exp(1.0)), abs=1e-3)


def test_a_tokenizer_that_puts_nothing_between_parts_is_refused(tmp_path: Path) -> None:
    folder = joined_by(tiny_cross_encoder(tmp_path), "[CLS] $A $B:1 [SEP]:1")
    with pytest.raises(EngineStartFailed, match="puts nothing between the two parts"):
        found_in(folder, "rank")
