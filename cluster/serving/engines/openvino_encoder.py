"""A BERT encoder with OpenVINO: rows of tokens in, vectors out, or of pairs their scores. Knows no request."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from cluster.serving.engines.encoder_stages import CARRIED, in_stages
from cluster.serving.engines.micro_batch import padded_length, shapes
from sage.base.errors import EngineStartFailed


class Activation(Enum):
    """What makes a score of the number that a classifier gives for a pair."""

    SIGMOID = "Sigmoid"
    IDENTITY = "Identity"


@dataclass(frozen=True, slots=True)
class Seam:
    """What stands between the two parts of a pair: `token` comes first there, in no text, of `num_tokens`."""

    token: int
    num_tokens: int


class Encoder:
    """One compiled model. With one thread it works on the thread that calls it, on whichever core that is."""

    def __init__(
        self,
        model: Path,
        num_threads: int,
        *,
        staged_tokens: int = 0,
        head: "Callable[[ov.Model], ov.Model] | None" = None,
        seam: "Seam | None" = None,
    ) -> None:
        """Load `model` (ONNX or OpenVINO IR).

        `staged_tokens`: up to so many at once can be embedded in stages too, between which it may rest; 0: none.
        `head` makes what is given of its output: by default the mean. `seam`: where the second part of a row begins,
        where rows are pairs whose parts the model tells apart.
        """
        properties = {
            "INFERENCE_NUM_THREADS": num_threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": num_threads
            > 1,  # the library would keep each encoder of one thread to the first core
        }
        core = ov.Core()
        pooled = (head or _pooled)(core.read_model(str(model)))
        self._seam = seam
        self._staged_tokens = staged_tokens

        def ready(stage: ov.Model) -> tuple[ov.InferRequest, list[str]]:
            request = core.compile_model(stage, "CPU", properties).create_infer_request()
            return request, [port.any_name for port in stage.inputs]

        self._whole = [ready(pooled)]
        self._stages = [ready(stage) for stage in in_stages(pooled)] if staged_tokens else self._whole

    def prewarm(self, max_length: int) -> None:
        """Prepare every shape that can come up for texts of up to `max_length` tokens."""
        for num, length in shapes(max_length):
            self.vectors([[0] * length] * num)
        if self._staged_tokens:
            for num, length in shapes(max_length, self._staged_tokens):
                self.vectors([[0] * length] * num, lambda: None)

    def vectors(self, rows: Sequence[list[int]], rest: Callable[[], None] | None = None) -> NDArray[np.float32]:
        """Return float32 [num_rows, dim], of length 1; valid until the next call.

        `rest`: called between two stages; it may wait. Stages take a tenth more time than the whole.
        """
        shape = (len(rows), padded_length(max(map(len, rows))))
        ids, mask, parts = (np.zeros(shape, np.int64) for _ in range(3))
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
            mask[number, : len(row)] = 1
            if self._seam is not None and self._seam.token in row:
                parts[number, row.index(self._seam.token) + self._seam.num_tokens : len(row)] = 1
        values: dict[str, NDArray[np.generic]] = {"input_ids": ids, "attention_mask": mask, "token_type_ids": parts}
        stages = self._whole if rest is None else self._stages
        for number, (request, names) in enumerate(stages):
            if rest is not None and number:
                rest()
            request.infer({name: values[name] for name in names}, share_inputs=True)
            values[CARRIED] = request.get_output_tensor(0).data
        vectors: NDArray[np.float32] = stages[-1][0].get_output_tensor(0).data
        return vectors


def _pooled(encoder: ov.Model) -> ov.Model:
    """Return `encoder` (hidden states [batch, length, dim]) with the mean over the mask, of length 1, as its output."""
    mask = next(port for port in encoder.inputs if "attention_mask" in port.names)
    hidden = encoder.output(0).get_node().input_value(0)
    weights = ops.unsqueeze(ops.convert(mask, np.float32), np.int64(2))
    total = ops.reduce_sum(ops.multiply(hidden, weights), np.int64(1))  # the norm makes the sum a mean
    return ov.Model([ops.normalize_l2(total, np.int64(1), 1e-12, "max")], encoder.get_parameters(), "pooled")


def scored(classifier: ov.Model, activation: Activation) -> ov.Model:
    """Return `classifier` (one number a pair, [batch, 1]) with the score that is made of the number as its output.

    Raises: EngineStartFailed where it gives another number of them.
    """
    logits = classifier.output(0).get_node().input_value(0)
    shape = logits.get_partial_shape()
    if shape.rank.get_length() != 2 or (shape[1].is_static and shape[1].get_length() != 1):
        what = f"the model gives {shape} for a batch of pairs, and a cross-encoder gives one number a pair"
        raise EngineStartFailed(what, "Name a model that was made to rerank.")
    score = ops.sigmoid(logits) if activation is Activation.SIGMOID else logits
    return ov.Model([score], classifier.get_parameters(), "scored")
