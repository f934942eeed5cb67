"""A BERT encoder with OpenVINO: rows of tokens in, vectors out. Knows no request."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from cluster.serving.engines.micro_batch import padded_length, shapes


class Encoder:
    """One compiled model. With one thread it works on the thread that calls it, on whichever core that is."""

    def __init__(self, model: Path, num_threads: int) -> None:
        """Load `model` (ONNX or OpenVINO IR)."""
        properties = {
            "INFERENCE_NUM_THREADS": num_threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": num_threads
            > 1,  # the library would keep each encoder of one thread to the first core
        }
        core = ov.Core()
        pooled = _pooled(core.read_model(str(model)))
        self._names = [port.any_name for port in pooled.inputs]
        self._infer = core.compile_model(pooled, "CPU", properties).create_infer_request()

    def prewarm(self, max_length: int) -> None:
        """Prepare every shape that can come up for texts of up to `max_length` tokens."""
        for num, length in shapes(max_length):
            self.vectors([[0] * length] * num)

    def vectors(self, rows: Sequence[list[int]]) -> NDArray[np.float32]:
        """Return float32 [num_rows, dim], of length 1; valid until the next call."""
        shape = (len(rows), padded_length(max(map(len, rows))))
        ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
            mask[number, : len(row)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros(shape, np.int64)}
        self._infer.infer({name: inputs[name] for name in self._names}, share_inputs=True)
        vectors: NDArray[np.float32] = self._infer.get_output_tensor(0).data
        return vectors


def _pooled(encoder: ov.Model) -> ov.Model:
    """Return `encoder` (hidden states [batch, length, dim]) with the mean over the mask, of length 1, as its output."""
    mask = next(port for port in encoder.inputs if "attention_mask" in port.names)
    hidden = encoder.output(0).get_node().input_value(0)
    weights = ops.unsqueeze(ops.convert(mask, np.float32), np.int64(2))
    total = ops.reduce_sum(ops.multiply(hidden, weights), np.int64(1))  # the norm makes the sum a mean
    return ov.Model([ops.normalize_l2(total, np.int64(1), 1e-12, "max")], encoder.get_parameters(), "pooled")
